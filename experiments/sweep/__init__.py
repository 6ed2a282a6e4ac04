"""Which hyper-parameters, and which restart policies with them, train best?"""
