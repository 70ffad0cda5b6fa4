"""ChatPolicy: any LangChain chat model continues a thread."""
