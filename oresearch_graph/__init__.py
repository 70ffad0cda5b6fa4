"""oresearch: a question in, a cited report and a Trace out."""
