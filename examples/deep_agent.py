"""The research graph as a subagent of deepagents (`pip install deepagents`), awaited or not."""

from collections.abc import Sequence
from typing import Any, Self

from deepagents import CompiledSubAgent, create_deep_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage

from oresearch_graph import create_research_graph


class YourModel(GenericFakeChatModel):
    """Stands for the model you have: it hands the question on, then answers."""

    def bind_tools(self, tools: Sequence[Any], **_: object) -> Self:
        return self


def main() -> None:
    research = CompiledSubAgent(
        name="research",
        description="Researches an open-ended question and returns a cited report.",
        runnable=create_research_graph(search="python"),
    )
    task = {"description": "How does pickle store objects?", "subagent_type": "research"}
    call = {"name": "task", "args": task, "id": "1"}
    replies = [AIMessage("", tool_calls=[call]), AIMessage("By opcodes, says the report.")]
    agent = create_deep_agent(model=YourModel(messages=iter(replies)), subagents=[research])
    result = agent.invoke({"messages": [HumanMessage("Tell me about pickle.")]})
    for message in result["messages"]:
        print(f"{message.type}: {message.text}")


if __name__ == "__main__":
    main()
