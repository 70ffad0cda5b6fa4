"""From a stranger's bytes to text, in worker processes with limits."""
