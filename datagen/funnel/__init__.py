"""The funnel: how many candidates there are at each stage, and why the others are not."""
