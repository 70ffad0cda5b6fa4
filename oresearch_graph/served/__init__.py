"""What stands between the graph that `langgraph dev` serves and whoever asks it."""
