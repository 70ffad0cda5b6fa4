"""The research graph as a subagent of deepagents (`pip install deepagents`), also awaited."""

import asyncio
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


def agent() -> Any:  # noqa: ANN401 - deepagents has no types
    research = CompiledSubAgent(
        name="research",
        description="Researches an open-ended question and returns a cited report.",
        runnable=create_research_graph(search="python"),
    )
    task = {"description": "How does pickle store objects?", "subagent_type": "research"}
    call = {"name": "task", "args": task, "id": "1"}
    replies = [AIMessage("", tool_calls=[call]), AIMessage("By opcodes, says the report.")]
    return create_deep_agent(model=YourModel(messages=iter(replies)), subagents=[research])


def main() -> None:
    question: Any = {"messages": [HumanMessage("Tell me about pickle.")]}
    invoked = [f"{m.type}: {m.text}" for m in agent().invoke(question)["messages"]]
    result = asyncio.run(agent().ainvoke(question))
    awaited = [f"{m.type}: {m.text}" for m in result["messages"]]
    print("\n".join(invoked))
    print("awaited: the same" if awaited == invoked else "awaited: something else")


if __name__ == "__main__":
    main()
