"""Which hyper-parameters, and which restart policies with them, train best?

Runtime: as long as its trainings take; --dry-run says how long
Page: docs/clusters.md
"""
