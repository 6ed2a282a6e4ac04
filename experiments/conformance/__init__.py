"""Do the real packages do what the presets say?"""
