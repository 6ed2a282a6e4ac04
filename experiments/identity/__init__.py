"""Is a training the same to the last bit, however it is cut and compiled?

Runtime: about a minute on two cores; one to two hours with --full
"""
