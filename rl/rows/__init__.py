"""What is trained on: SFT rows from traces, RL rows from questions."""
