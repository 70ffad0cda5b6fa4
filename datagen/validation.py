"""What the pydantic models of a pipeline share: frozen values, and a fault said in one line."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError


class FrozenModel(BaseModel):
    """Values that do not change; an unknown name is an error."""

    # JSON has no NaN: a file with one could be written and not read.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def first_fault(error: ValidationError, whole: str) -> str:
    """The first fault with its place; `whole` stands for the model where the fault has none."""
    fault = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, fault['loc'])) or whole}: {fault['msg']}"
