"""Which sentences of the usual answer to the question hold?"""
