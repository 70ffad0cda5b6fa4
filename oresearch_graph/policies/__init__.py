"""Who writes: the policies."""
