"""The LSTM forecaster: one learner among others."""
