"""A package, so that no installed one of that name is imported in its place (verl ships one)."""
