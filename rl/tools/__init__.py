"""Documents while training: shared, limited, patient with services."""
