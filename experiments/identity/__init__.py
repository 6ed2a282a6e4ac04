"""Is a training the same to the last bit, however it is cut and compiled?"""
