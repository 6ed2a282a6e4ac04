"""What does a boundary in your own training code drop?

Runtime: seconds
"""
