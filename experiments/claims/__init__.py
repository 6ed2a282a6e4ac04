"""Which sentences of the usual answer to the question hold?

Runtime: one to three minutes on two cores
Page: docs/examples.md
"""
