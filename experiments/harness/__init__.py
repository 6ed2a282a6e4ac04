"""The code that all experiments share."""
