"""What do the frameworks' idioms do between two fits, and does it matter?

Runtime: about 4 minutes on two cores; under 30 s with --quick
Page: docs/refit/sunspots/table.md
"""
