"""From a configuration to a run that may start: composed, checked, planned, rehearsed."""
