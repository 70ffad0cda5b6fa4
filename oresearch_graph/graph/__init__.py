"""The research graph: plan, research × K, summarize, verify."""
