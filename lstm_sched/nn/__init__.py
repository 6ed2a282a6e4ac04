"""The LSTM forecaster, one learner among others: network, layers, gradient, losses, and weights of other libraries."""
