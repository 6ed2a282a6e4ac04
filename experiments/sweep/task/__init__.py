"""One task of a sweep: a folder that one process works on at a time."""
