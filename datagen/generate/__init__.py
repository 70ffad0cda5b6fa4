"""The generate stage: each seed becomes candidates, through the research graph."""
