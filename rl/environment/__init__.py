"""The research graph in environments that others train and evaluate in."""
