"""Questions as text: the form they are kept in, how alike two are, whether a benchmark has them."""
