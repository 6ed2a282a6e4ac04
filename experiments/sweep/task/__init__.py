"""One task of a sweep: a folder that one process works on at a time."""

WITH_PARENT = "--with-parent"  # stop when standard input ends, as it does when its writer dies
