"""The filter stage: rules say what is wrong with each candidate."""
