"""The export stage: what was accepted becomes a data set."""
