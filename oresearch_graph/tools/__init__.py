"""What policies may call: search backends, page readers and the tools on them."""
