"""Other packages, timed side by side with this one."""
