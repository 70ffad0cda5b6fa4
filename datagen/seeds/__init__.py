"""The seeds stage: questions become seeds, and each one left out has its reason."""
