"""Scripts that other packages run, each in a process of its own."""
