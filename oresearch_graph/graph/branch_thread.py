"""The thread that a researcher continues, with what may come next in it."""

from __future__ import annotations

from collections.abc import Sequence

from oresearch_graph.graph.run_context import RunContext
from oresearch_graph.graph.state import BranchState
from oresearch_graph.text.words import names_and_figures
from oresearch_graph.threads import Citable, Next, Thread
from oresearch_graph.trace import Source, Step


def citable(source: Source, asked: Sequence[str]) -> Citable:
    """A source with its names and, as the question writes them, those of `asked` that it holds."""
    text = f"{source.title}\n{source.text}"
    folded = text.casefold()
    held = (name for name in asked if name.casefold() in folded)
    return Citable(id=source.id, names=tuple(dict.fromkeys([*held, *names_and_figures(text)])))


def branch_thread(
    state: BranchState, run_context: RunContext, branch_steps: Sequence[Step]
) -> Thread:
    """The branch's thread, with what may come next in it."""
    observed = any(step.kind == "observation" for step in branch_steps)
    sources, forced = state.get("seen", []), state.get("forced", False)
    begins = run_context.protocol.execution == "sequential" and not branch_steps
    names = names_and_figures(f"{state['task'].run.question}\n{state['task'].subtask}")
    expected = Next(
        tag="subtask_answer" if forced else "subtask" if begins else "think",
        calls=("web_search", "crawl_page", *run_context.tools),
        may_answer=observed,
        sources=tuple(
            citable(source, names) if run_context.constrained else Citable(id=source.id)
            for source in sources
        ),
        names=names,
        addresses=tuple(source.url for source in sources if not source.read),
    )
    return run_context.thread(
        state["task"].run,
        expected,
        role="researcher",
        branch=state["task"].branch,
        steps=(*state["task"].before, *branch_steps),
        forced=forced,
    )
