"""ExtractivePolicy: no model; it quotes the best passages with their sources."""
