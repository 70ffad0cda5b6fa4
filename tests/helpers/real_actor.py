"""verl's own actor worker in this process: FSDP2 on CPU, a tiny model in fp32, AdamW.

It stands where the trainer has its worker group, over a queue that is a double: what verl's bridge
would fetch from the queue is given to `update_actor`. Run in a process of its own, with the
environment of `rl.cpu.platform`.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import torch
from omegaconf import DictConfig
from tensordict import TensorDict
from torch.distributed.tensor import DTensor
from transfer_queue import KVBatchMeta
from verl.utils import tensordict_utils

import tests.helpers.verl_quietly  # noqa: F401
from rl import gpu_check
from rl.launch.composition import compose_config
from rl.tiny.base_model import as_pretrained, make_model, make_tokenizer
from tests.helpers.queue_double import QueueDouble
from tests.helpers.traces import GOOD

State = dict[str, torch.Tensor]
_FIELDS = ("input_ids", "position_ids", "prompts", "responses", "response_mask", "loss_mask",
           "old_log_probs", "advantages")  # fmt: skip


def configured(folder: Path, *overrides: str) -> DictConfig:
    """`cpu_tiny` over an untrained model, which is written to the folder."""
    tokenizer = as_pretrained(make_tokenizer([GOOD]))
    for part in (tokenizer, make_model(tokenizer, layers=1)):
        part.save_pretrained(folder)
    return compose_config("cpu_tiny", [f"actor_rollout_ref.model.path={folder}", *overrides])


class RealActor:
    """The worker group of one rank."""

    def __init__(self, config: DictConfig, queue: QueueDouble) -> None:
        from verl.workers.engine_workers import ActorRolloutRefWorker

        gpu_check._join_group()
        self._dispatch_info = {"actor": [0]}
        self._queue, self.updates = queue, 0
        self._worker = ActorRolloutRefWorker(config.actor_rollout_ref, role="actor")
        self._worker.init_model()
        self._engine = self._worker.actor.engine

    def update_actor(self, batch: KVBatchMeta) -> TensorDict:
        """As verl/utils/transferqueue_utils.py, `tqbridge`: fields of the rows, and what is said
        of the batch."""
        self.updates += 1
        data = self._queue.kv_batch_get(batch.keys, batch.partition_id, _FIELDS)
        for name, value in deepcopy(batch.extra_info).items():
            tensordict_utils.assign_non_tensor_data(data, name, value)
        return self._worker.update_actor(data)

    def state(self) -> State:
        """Every parameter, every moment and step count of its optimizer, and the schedule's."""
        held = {name: tensor.clone() for name, tensor in self._tensors().items()}
        return held | {"schedule": torch.tensor(self._engine.lr_scheduler.last_epoch)}

    @torch.no_grad()
    def restore(self, state: State) -> None:
        """Go back to a state."""
        for name, tensor in self._tensors().items():
            tensor.copy_(state[name])
        self._engine.lr_scheduler.last_epoch = int(state["schedule"])

    @torch.no_grad()
    def _tensors(self) -> State:
        """One rank's shards are whole."""
        tensors: State = {}
        for name, parameter in self._engine.module.named_parameters():
            moments = self._engine.optimizer.state[parameter]
            for key, value in {"weight": parameter.detach(), **moments}.items():
                whole = value.to_local() if isinstance(value, DTensor) else value
                tensors[f"{name}/{key}"] = whole
        return tensors
