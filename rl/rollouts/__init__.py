"""The research graph as a rollout: ids as they were sampled, the Trace, its reward."""
