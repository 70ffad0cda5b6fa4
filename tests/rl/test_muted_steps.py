"""Steps from which there is nothing to learn change no bit of verl's own actor: its FSDP engine
with AdamW, whose moments of an earlier step would move the weights on."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from transfer_queue import KVBatchMeta

import tests.helpers.verl_quietly  # noqa: F401
from rl.cpu.platform import ENVIRONMENT
from rl.learning.groups import parse_row_key
from rl.learning.trainer import ResearchTrainer
from tests.helpers.queue_double import QueueDouble
from tests.helpers.real_actor import RealActor, State, configured

pytestmark = pytest.mark.training

Metrics = dict[str, float]
MASK = torch.tensor([1, 1, 0, 1, 1, 1])
WORDS = 256
NEAR = -6.0
"""What an untrained model of some 400 words gives each of them, nearly."""


class Learned(NamedTuple):
    """What an update of the actor left, bit by bit."""

    state: dict[str, bytes]
    metrics: Metrics
    updates: int
    """Calls of the worker."""

    @property
    def weights(self) -> dict[str, bytes]:
        return {name: bits for name, bits in self.state.items() if name.endswith("/weight")}


class Actor:
    """A trainer over a real actor, which begins each time where one optimizer step left it."""

    def __init__(self, folder: Path, queue: QueueDouble) -> None:
        self.config = configured(
            folder, "data.train_batch_size=6", "actor_rollout_ref.rollout.n=2",
            "actor_rollout_ref.actor.ppo_mini_batch_size=2",
            "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=2",
            "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=2",
        )  # fmt: skip
        self.queue = queue
        self.worker = RealActor(self.config, queue)
        self.began: State | None = None
        self.learn("ab")
        self.began = self.worker.state()

    def learn(self, prompts: str, muted: str = "", *, stepping: bool = False) -> Learned:
        """What a step on these prompts leaves. `stepping`: over muted ones too, as verl does."""
        if self.began is not None:
            self.worker.restore(self.began)
        trainer = ResearchTrainer(self.config)
        trainer.actor_rollout_wg = self.worker
        trainer.tokenizer = SimpleNamespace(eos_token_id=0)
        metrics: Metrics = {}
        batch = trainer._balance_batch(_rows(self.queue, prompts), metrics)
        for key in batch.keys:  # computed behind the padding, of padding rows too
            row = self.queue.fields["train"][key]
            row["old_log_probs"] = torch.full((len(row["response_mask"]),), NEAR)
        trainer.replay_buffer.muted = set(muted)
        trainer._compute_advantage(batch, metrics)
        if stepping:
            trainer._teaching = None
        before = self.worker.updates
        trainer._update_actor(batch, metrics)
        return self.left(metrics, self.worker.updates - before)

    def left(self, metrics: Metrics, updates: int) -> Learned:
        bits = {name: value.numpy().tobytes() for name, value in self.worker.state().items()}
        return Learned(bits, metrics, updates)


def _rows(queue: QueueDouble, prompts: str) -> KVBatchMeta:
    """Two rollouts of each prompt, of two rows each; one has the reward, the other none."""
    queue.tags.clear()
    queue.fields.clear()
    keys = []
    for uid in prompts:
        for session in (0, 1):
            queue.rollout(uid, session, rows=2, quality=0.0, total=float(session))
            keys += [f"{uid}_{session}_{row}" for row in range(2)]
    for key in keys:
        name = parse_row_key(key)
        reward = int(name.session)
        source = torch.Generator().manual_seed(1_000 * ord(name.uid) + 10 * reward + name.row)
        ids = torch.randint(3, WORDS, (2 + len(MASK),), generator=source)
        near = torch.full((len(MASK),), NEAR)
        queue.fields["train"][key] |= {
            "input_ids": ids, "position_ids": torch.arange(len(ids)), "prompts": ids[:2],
            "responses": ids[2:], "response_mask": MASK, "loss_mask": MASK,
            "rm_scores": torch.nn.functional.pad(torch.tensor([float(reward)]), (5, 0)),
            "rollout_log_probs": near, "uid": name.uid,
        }  # fmt: skip
    return KVBatchMeta(keys, [queue.tags["train"][key] for key in keys], "train")


def learned(folder: Path) -> dict[str, Learned]:
    """Every step that is compared here."""
    with pytest.MonkeyPatch.context() as patch:
        actor = Actor(folder, QueueDouble(patch))
        return {
            "before": actor.left({}, updates=0),
            "all muted": actor.learn("abcdef", muted="abcdef"),
            "all muted, stepped": actor.learn("abcdef", muted="abcdef", stepping=True),
            "b and e muted": actor.learn("abcdef", muted="be"),
            "b and e muted, stepped": actor.learn("abcdef", muted="be", stepping=True),
            "without b and e": actor.learn("acdf"),
            "a muted": actor.learn("ab", muted="a"),
            "without a": actor.learn("b"),
        }


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Learned]:
    """Learned in a process of its own: verl's platform is chosen when it is imported."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            return process.submit(learned, tmp_path_factory.mktemp("model")).result()


def test_a_step_of_muted_groups_changes_no_bit(steps: dict[str, Learned]):
    step = steps["all muted"]
    assert step.state == steps["before"].state
    assert step.updates == step.metrics["oresearch/optimizer_steps"] == 0
    assert step.metrics["oresearch/muted_steps"] == 3


def test_verls_own_step_on_muted_groups_moves_all_that_a_gradient_moved_before(
    steps: dict[str, Learned],
):
    """The control: nothing pulls, and what an earlier step left in the optimizer pulls on."""
    step, before = steps["all muted, stepped"], steps["before"]
    assert step.metrics["oresearch/optimizer_steps"] == 3
    assert step.metrics["actor/grad_norm"] == 0
    assert [name for name, bits in step.weights.items() if bits == before.weights[name]] == []


def test_of_several_steps_those_of_muted_groups_leave_no_trace(steps: dict[str, Learned]):
    step, alone = steps["b and e muted"], steps["without b and e"]
    assert step.metrics["oresearch/muted_steps"] == 1
    assert step.metrics["oresearch/optimizer_steps"] == alone.metrics["oresearch/optimizer_steps"]
    assert step.state == alone.state
    assert step.state != steps["before"].state
    assert step.state != steps["b and e muted, stepped"].state


def test_a_muted_group_of_a_step_that_teaches_counts_in_its_divisor_only(
    steps: dict[str, Learned],
):
    gradient, alone = (steps[name].metrics["actor/grad_norm"] for name in ("a muted", "without a"))
    assert gradient > 0
    assert 2 * gradient == pytest.approx(alone, rel=1e-4)
