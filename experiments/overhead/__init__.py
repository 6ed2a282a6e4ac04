"""What does a call of fit cost?

Runtime: about 18 minutes on two cores; under a minute with --quick
Page: docs/overhead/table.md
"""
