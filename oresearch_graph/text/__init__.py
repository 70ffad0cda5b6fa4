"""Words, sentences, passages and languages of any text."""
