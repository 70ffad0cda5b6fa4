"""The run directory: its files, its stamps, its lock."""
