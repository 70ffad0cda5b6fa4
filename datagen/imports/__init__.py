"""Traces from elsewhere become Traces with honest authorship."""
