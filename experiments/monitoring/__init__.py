"""Does a loop of fits buy early stopping or plateau decay?"""
