"""LangChain's AgentMiddleware around researchers: loaded only where a graph has some."""
