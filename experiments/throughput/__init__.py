"""How fast is one training, and how fast are many?"""
