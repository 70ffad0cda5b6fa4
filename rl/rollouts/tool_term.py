"""Which values the reward's tool term can take under given settings: the start-up report on it.

A group is compared by differences: a term that cannot vary teaches nothing, and an upper bound
that no rollout can reach restrains nobody.
"""

from __future__ import annotations

from oresearch_graph.settings import Limits
from rl.settings import RewardSettings, RLSettings


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


def most_calls_possible(limits: Limits) -> int:
    """Calls that one subtask can hold: a turn of the policy under training ends at its call's
    close tag, and the last turn is the answer."""
    return max(0, min(limits.tool_calls, limits.steps - 1))


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
