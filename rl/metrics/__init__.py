"""What a run logged, read back and drawn."""
