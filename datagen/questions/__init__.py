"""Questions, below the stages: read from files, brought into form, compared with each other and
with benchmarks."""
