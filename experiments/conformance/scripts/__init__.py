"""Scripts that the real packages run, each in a Python of its own."""
