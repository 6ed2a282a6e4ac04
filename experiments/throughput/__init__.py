"""How fast is one training, and how fast are many?

Runtime: about 15 minutes on two cores; under a minute with --quick
Page: docs/throughput/table.md
"""
