"""A folder of documents, or Python's own documentation, as search backend and reader."""
