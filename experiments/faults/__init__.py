"""Is a run ever lost?

Runtime: about a minute on two quiet cores; 15 minutes with --full
Page: docs/faults/table.md
"""
