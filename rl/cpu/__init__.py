"""verl and vLLM without an accelerator."""
