"""Do the real packages do what the presets say?

Runtime: four to five minutes on two cores
Page: docs/dialects.md
"""
