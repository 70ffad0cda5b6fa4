"""verl learns to write Traces: the research graph as a reinforcement-learning environment."""
