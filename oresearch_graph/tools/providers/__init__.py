"""Search by services and libraries of others: Tavily, SearXNG, retrievers, MCP."""
