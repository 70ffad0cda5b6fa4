"""Records that do not change, and what is wrong with a text that is none."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError


class FrozenModel(BaseModel):
    """A record of known fields that stays as it was made."""

    # JSON has no NaN: a file with one could be written and not read.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def first_fault(error: ValidationError, whole: str = "") -> str:
    """The first thing that is wrong, as `place: message`; `whole` is the place of what is about the
    whole. What was read does not stand in it: that may be a secret, or long."""
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(map(str, fault["loc"])) or whole
    return f"{place}: {fault['msg']}" if place else fault["msg"]
