"""Is a run ever lost?"""
