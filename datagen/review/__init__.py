"""The review stage: what people said of the sample becomes the result that gates the export."""
