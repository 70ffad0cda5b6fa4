"""The rubrics stage: accepted traces become what RL judges by."""
