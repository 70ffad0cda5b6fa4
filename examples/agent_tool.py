"""The research graph as a tool of your agent, invoked without an event loop."""

from collections.abc import Sequence
from typing import Any, Self

from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from oresearch_graph import Trace, research_tool


class YourModel(GenericFakeChatModel):
    """Stands for the model you have: it calls the tool, then answers."""

    def bind_tools(self, tools: Sequence[Any], **_: object) -> Self:
        print("the agent knows", [tool.name for tool in tools])
        return self


def main() -> None:
    question = {"question": "How does pickle store objects?"}
    call = {"name": "research", "args": question, "id": "1"}
    replies = [AIMessage("", tool_calls=[call]), AIMessage("By opcodes, says the report.")]
    agent = create_agent(YourModel(messages=iter(replies)), [research_tool(search="python")])
    result = agent.invoke({"messages": [HumanMessage("Tell me about pickle.")]})
    for message in result["messages"]:
        if isinstance(message, ToolMessage) and isinstance(message.artifact, Trace):
            print(message.text)
            print(message.artifact.outcome, len(message.artifact.sources or ()), "sources")
    print(result["messages"][-1].text)


if __name__ == "__main__":
    main()
