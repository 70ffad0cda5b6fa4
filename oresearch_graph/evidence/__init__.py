"""What a claim rests on: words, passages, the source ledger, the check of citations."""
