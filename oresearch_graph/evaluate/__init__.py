"""How good the answers are: fixed questions with written key points."""
