"""A stand-in for verl's TransferQueue over one dictionary: the functions that the trainer calls.

Semantics as read in transfer_queue/interface.py: kv_list gives partitions of keys and tags (None
when there is nothing), kv_batch_get raises for keys it does not know and leaves out fields that
no row has, kv_clear passes over unknown keys, kv_batch_put merges tags and fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import pytest
import torch
from tensordict import NonTensorStack, TensorDict
from transfer_queue import KVBatchMeta

Tags = dict[str, dict[str, Any]]


class QueueDouble:
    """Prompts and rows by partition. `on_list` runs before each look, as rollouts run on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tags: dict[str, Tags] = {}
        self.fields: dict[str, dict[str, dict[str, Any]]] = {}
        self.cleared: list[str] = []
        self.on_list: Callable[[int], None] = lambda look: None
        self.looks = 0
        for name in ("kv_list", "kv_batch_get", "kv_clear", "kv_batch_put"):
            monkeypatch.setattr(f"transfer_queue.{name}", getattr(self, name))

    def prompt(self, uid: str, status: str, partition: str = "train", step: int = 1) -> None:
        """Set a prompt's status."""
        tag = {"is_prompt": True, "status": status, "global_steps": step}
        self.tags.setdefault(partition, {}).setdefault(uid, {}).update(tag)

    def rollout(
        self,
        uid: str,
        session: int,
        rows: int = 1,
        partition: str = "train",
        **scores: float | None,
    ) -> None:
        """Put a rollout's rows with its scores on each, as verl copies them."""
        for row in range(rows):
            key = f"{uid}_{session}_{row}"
            self.tags.setdefault(partition, {})[key] = {"status": "success", "seq_len": 10}
            extra = {"reward_extra_info": dict(scores), "sampled_by": {"researcher": 4}}
            self.fields.setdefault(partition, {})[key] = {"extra_fields": extra}

    def kv_list(self, partition_id: str | None = None) -> dict[str, Tags] | None:
        self.looks += 1
        self.on_list(self.looks)
        return deepcopy(self.tags) or None

    def kv_batch_get(
        self, keys: Sequence[str], partition_id: str, select_fields: Sequence[str] | None = None
    ) -> TensorDict:
        held = self.fields.get(partition_id, {})
        if not keys or any(key not in held for key in keys):
            raise ValueError("keys or partition were not found!")
        names = [name for name in select_fields or held[keys[0]] if name in held[keys[0]]]
        columns = {name: _column([held[key][name] for key in keys]) for name in names}
        return TensorDict(columns, batch_size=[len(keys)])

    def kv_batch_put(
        self,
        keys: Sequence[str],
        partition_id: str,
        fields: TensorDict | None = None,
        tags: Sequence[Mapping[str, Any]] | None = None,
    ) -> KVBatchMeta:
        places = self.tags.setdefault(partition_id, {})
        held = self.fields.setdefault(partition_id, {})
        columns = {} if fields is None else dict(fields.items())
        for place, key in enumerate(keys):
            places.setdefault(key, {}).update(tags[place] if tags else {})
            for name, column in columns.items():
                held.setdefault(key, {})[name] = _cell(column, place)
        return KVBatchMeta(list(keys), [places[key] for key in keys], partition_id)

    def kv_clear(self, keys: Sequence[str], partition_id: str) -> None:
        for key in keys:
            if self.tags.get(partition_id, {}).pop(key, None) is not None:
                self.cleared.append(key)
            self.fields.get(partition_id, {}).pop(key, None)

    def left(self, partition: str = "train") -> set[str]:
        """The keys that are still there."""
        return set(self.tags.get(partition, {}))


def _column(values: list[Any]) -> Any:
    if isinstance(values[0], torch.Tensor):
        if values[0].dim() == 0:
            return torch.stack(values)
        return torch.nested.as_nested_tensor(values, layout=torch.jagged)
    return NonTensorStack(*values)


def _cell(column: Any, place: int) -> Any:
    value = column.unbind()[place] if isinstance(column, torch.Tensor) else column[place]
    return getattr(value, "data", value) if not isinstance(value, torch.Tensor) else value
