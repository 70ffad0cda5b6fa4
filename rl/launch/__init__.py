"""From a name to processes that can start: composed, given their environment, started."""
