"""The start-up check: what would train wrongly is refused before any worker starts."""
