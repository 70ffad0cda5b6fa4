"""The rows that data pipelines write and training reads: columns, builder and reader of each."""
