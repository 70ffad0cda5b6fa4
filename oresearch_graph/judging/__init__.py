"""Judges of a report: by key points, and by a model on a rubric."""
