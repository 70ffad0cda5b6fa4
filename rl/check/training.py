"""Start-up rules about rollouts and their reward: what would run and teach nothing.

A group is compared by differences: a reward's term that cannot vary teaches nothing, and an upper
bound that no rollout can reach restrains nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from oresearch_graph.limits import Limits
from rl.check.lengths import most_calls_possible
from rl.check.problem import Launch, Problem
from rl.settings import RewardSettings, RLSettings

_ROLLOUT = "actor_rollout_ref.rollout"
AGENT_LOOP = "rl.rollouts.agent_loop.ResearchAgentLoop"


def agent_loop_is_ours(launch: Launch) -> Iterator[Problem]:
    """verl's workers find the research graph under the loop's name."""
    key = f"{_ROLLOUT}.agent.agent_loop_config_path"
    path = Path(str(launch.get(key, "")))
    if not path.is_file():
        yield Problem(key, f"there is no file {path}", f"{key}=rl/config/agent_loops.yaml")
        return
    text = path.read_text(encoding="utf-8")
    if AGENT_LOOP not in text or "name: oresearch" not in text:
        yield Problem(
            key, f"{path} does not name {AGENT_LOOP}", f"{key}=rl/config/agent_loops.yaml"
        )


def groups_can_compare(launch: Launch) -> Iterator[Problem]:
    """Several different rollouts per prompt."""
    if (rollouts := launch.whole(f"{_ROLLOUT}.n", 1)) < 2:
        yield Problem(
            f"{_ROLLOUT}.n",
            f"{rollouts} rollout per prompt has nothing to be compared with: no gradient",
            f"{_ROLLOUT}.n=8",
        )
    temperature = launch.get(f"{_ROLLOUT}.temperature", 1.0)
    numeric = isinstance(temperature, int | float)
    if not numeric or temperature <= 0:
        yield Problem(
            f"{_ROLLOUT}.temperature",
            "greedy rollouts of one prompt are all the same: every advantage is 0"
            if numeric
            else f"{temperature!r} is no number",
            f"{_ROLLOUT}.temperature=1.0",
        )


def reward_can_vary(launch: Launch) -> Iterator[Problem]:
    """The reward has positive weight, and its tool term more than one value."""
    reward, limits = launch.settings.reward, launch.research.limits
    if reward.quality + reward.tool_use + reward.format <= 0:
        yield Problem(
            "oresearch.reward",
            "all weights are 0: every reward is 0",
            "oresearch.reward.quality=0.6",
        )
    elif reward.quality == 0:
        yield Problem(
            "oresearch.reward.quality",
            "0: form and tool calls alone are rewarded, and answers will not become better",
            "oresearch.reward.quality=0.6",
            refused=False,
        )
    if reward.fewest_calls > reward.most_calls:
        yield Problem(
            "oresearch.reward.fewest_calls",
            f"{reward.fewest_calls} is more than most_calls = {reward.most_calls}",
            "oresearch.reward.fewest_calls=2 oresearch.reward.most_calls=8",
        )
    if limits.subtasks < reward.fewest_subtasks:
        yield Problem(
            "oresearch.reward.fewest_subtasks",
            f"a plan holds at most {limits.subtasks} (max_subtasks): the form term is always 0",
            f"oresearch.reward.fewest_subtasks={limits.subtasks}",
        )
    if limits.tool_calls == 0 or limits.steps < 2:
        yield Problem(
            "oresearch.research.max_tool_calls",
            "no tool call fits into a subtask: nothing can be learned from documents",
            "oresearch.research.max_steps=10 oresearch.research.max_tool_calls=12",
        )
    if reward.tool_use > 0 and (why := constant_tool_use(launch.settings)):
        yield Problem(
            "oresearch.reward.tool_use",
            why,
            "oresearch.research.max_steps=10 oresearch.research.max_tool_calls=12",
            refused=False,
        )


def constant_tool_use(settings: RLSettings) -> str | None:
    """One line when the tool term is constant, or when its upper bound cannot be felt or punishes
    what the prompt asks for; None when all is well. Raises ConfigurationError.

    Begins with `constant:`, `never 1:`, `the upper bound is never felt:` or `against the prompt:`.
    """
    reward, limits = settings.reward, settings.research_settings.limits
    if reward.tool_use == 0:
        return "constant: oresearch.reward.tool_use is 0, tool calls are not rewarded"
    if reward.fewest_calls > reward.most_calls:
        return (
            f"never 1: fewest_calls={reward.fewest_calls} is above most_calls={reward.most_calls}; "
            "swap them"
        )
    return _by_reach(reward, limits) or _by_prompt(reward, limits)


def _by_reach(reward: RewardSettings, limits: Limits) -> str | None:
    """What the most calls that fit say about the bounds."""
    each = most_calls_possible(limits)
    whole = reward.scope == "trajectory"
    most = each * limits.subtasks if whole else each
    where = "a trajectory" if whole else "a subtask"
    holds = (
        f"{where} holds at most {most} calls (max_tool_calls={limits.tool_calls}, "
        f"max_steps={limits.steps}{f', max_subtasks={limits.subtasks}' if whole else ''})"
    )
    if most < reward.fewest_calls:
        return f"constant: always 0, {holds}, fewest_calls={reward.fewest_calls}; raise the limits"
    if most > reward.most_calls:
        return None
    if reward.fewest_calls == 0:
        return f"constant: always 1, {holds} and fewest_calls=0; raise fewest_calls"
    return (
        f"the upper bound is never felt: {holds}, most_calls={reward.most_calls}; the term is 0 "
        "or 1. Raise the limits or lower most_calls"
    )


def _by_prompt(reward: RewardSettings, limits: Limits) -> str | None:
    """The prompt asks for a number of calls per subtask; over a trajectory they add up."""
    least = min(5, limits.tool_calls) * min(2, limits.subtasks)
    if reward.scope == "subtask" or least <= reward.most_calls:
        return None
    return (
        f"against the prompt: scope=trajectory allows {reward.most_calls} calls, and the prompt "
        f"asks for {min(5, limits.tool_calls)} or more in each subtask: two subtasks done as asked "
        "earn −1. Use scope=subtask, or a max_tool_calls per subtask that adds up to fewer"
    )


RULES = (
    agent_loop_is_ours,
    groups_can_compare,
    reward_can_vary,
)
