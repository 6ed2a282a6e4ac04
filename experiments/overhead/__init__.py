"""What does a call of fit cost?"""
