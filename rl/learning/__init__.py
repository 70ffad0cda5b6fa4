"""verl's trainer, right for rollouts of several rows, and what a step reports."""
