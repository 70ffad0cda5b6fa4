"""Splits by seed: all that was made of one question stands in one split, in every export."""

from __future__ import annotations

import hashlib
from typing import Final, Literal

from datagen.settings import ExportSettings

Split = Literal["train", "validation", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "validation", "test")


def split_of(seed: str, settings: ExportSettings) -> Split:
    """The split of a seed: by the hash of its id, whatever other seeds there are."""
    digest = hashlib.sha256(f"{settings.split_seed}:{seed}".encode()).digest()
    place = int.from_bytes(digest[:8]) / 2**64
    if place < settings.validation:
        return "validation"
    return "test" if place < settings.validation + settings.test else "train"
