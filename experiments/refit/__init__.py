"""What do the frameworks' idioms do between two fits?"""
