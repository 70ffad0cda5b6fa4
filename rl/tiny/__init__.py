"""A world and a model small enough for two cores: the base of the learning demonstration, of the
dry run's rehearsal and of the end-to-end tests. Nothing here is needed to train a real model."""
