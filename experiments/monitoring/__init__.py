"""Does a loop of fits buy early stopping or plateau decay?

Runtime: about 5 minutes on two cores
Page: docs/monitoring/figure.svg
"""
