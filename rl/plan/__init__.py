"""What a run will be, shown before it is started: one step's size, its memory, one real rollout."""
