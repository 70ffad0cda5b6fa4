"""Pages of docs/ that are the code's: `python -m tests.reference` writes them."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel

from oresearch_graph.graph import events
from oresearch_graph.graph.event_stream import Finished
from oresearch_graph.limits import EFFORTS, Bounds
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.view import report_record
from rl.check.allowance import Allowance
from rl.check.engine_settings import TRAINING
from rl.check.learning_settings import BY_ROW, LEARNING
from rl.check.rollout_settings import SAMPLING

DOCS: Final = Path(__file__).parent.parent / "docs"
CONFIGS: Final = DOCS.parent / "rl" / "config"
_MADE: Final = "<!-- Made by `python -m tests.reference`; change the code, not this page. -->\n\n"
_REPORT: Final = """\
`oresearch run --out FILE` writes the report in the format of the suffix, and may be repeated; in
Python `write_report(result, FILE)` does, of what the graph returned or of a `Trace`. Only its
owner reads the file.

- `.md`: Markdown without pictures, HTML and links but the web's.
- `.html`: one page that needs nothing from outside and runs nothing, for light and dark, with a
  style sheet for print, its language and direction. Citations lead to the references, these to
  the web. Beyond 200,000 characters a report is shown as it is written.
- `.pdf`: that page on A4 with page numbers, by WeasyPrint (`pip install '.[pdf]'`, and the
  library Pango of the system: `apt-get install libpango-1.0-0 libpangoft2-1.0-0`). Fonts are the
  system's: characters that none has are boxes, and are told (`fonts-noto-core`, `fonts-noto-cjk`,
  `fonts-noto-color-emoji` have them all). It is laid out in a process of its own in at most 300
  seconds; nothing is fetched. The first 500,000 characters and 10,000 lines are printed.
- `.json`: one object, `ReportRecord`; a run without a report has one too. `<`, `>` and `&` are
  escaped in it, so it can stand in a page. `ReportRecord.model_json_schema()` is its schema
  (`oresearch_graph.view.report_record`). Fields are only ever added.

Another suffix, or PDF without what makes it, is refused before the run. A run that is gone on
with is delivered where it was to be; one that has ended, with `--resume ID --out FILE`, in
another format.
"""
_TRAINING: Final = """\
`python -m rl.grpo CONFIG --dry-run` refuses, before any worker starts, what would train wrongly or
die after the first rollouts: a line for each setting with its value, why, and what to write
instead. This page is about verl's settings; [rl/README.md](../rl/README.md) tells how to train.

## What ran

{ran}

Nothing has run on a GPU. What CPUs show is that ids, masks, log-probabilities, advantages, the
gradient under any split into rows and the weights are right in fp32; what they cannot show is
flash attention, FSDP over several ranks, bf16, and memory.

## What a step takes

One training step at most: every subtask used, every step taken, every text as long as it may be,
on GPUs of 80 GiB. `python -m rl.grpo CONFIG --dry-run` shows what the sums are of. A machine's own
memory is that of the one that takes most, where the driver is and the weights are loaded; on one
machine the run says before it starts where it has less.

<!-- plans: by the training environment's python -m tests.reference -->
{plans}
<!-- end of plans -->

## What the first step shows

Engine and actor hold the same weights. Where they differ in the log-probability of a sampled token
by more than `oresearch.mismatch_bound` on average (0.01 where the actor computes in fp32, else
0.05), the start ends at its first step with nothing trained. An optimizer step in which no row has
an advantage is not taken: weights and optimizer stay as they are (`oresearch/muted_steps`).

## What settings may be

A rollout is a number of rows that its threads make, and micro-batches are cut by tokens. So a
setting of the loss is right only where neither changes the gradient; a test measures it for each
that is allowed. What is in the last column is that test, or the line of verl 0.9.1 that the reason
rests on. `actor_rollout_ref.model` and `actor_rollout_ref.actor.fsdp_config` are `model` and
`engine` in SFT, where the lines marked † hold as well.

What is in no list, and not free because it costs time and memory only (batch sizes, offloading,
caches, the optimizer, checkpoints, profiling), keeps verl's own value; so does a key that verl does
not have.
"""

_PLANS: Final = re.compile(r"<!-- plans: .* -->\n(.*?)\n<!-- end of plans -->", re.DOTALL)
_RAN: Final = {
    "tiny": ("none, two CPU cores", "trained in CI, in fp32"),
    "8gpu": ("8, one machine", "composed and checked, never run"),
    "multinode": ("32 to 64, four to eight machines", "composed and checked, never run"),
}
"""On what, by the end of a configuration's name."""


def settings() -> str:
    """Every setting with its type, default and meaning, and what each effort stands for."""
    lines = [
        "# Settings\n",
        _MADE
        + "One list for all doors: `ResearchSettings(name=…)`, a run's `context`, `oresearch run "
        "--set name=value`, the environment (`ORESEARCH_NAME`), Studio's form. Explicit values "
        "beat the environment, which beats defaults.\n",
        "| setting | values | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, field in ResearchSettings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        lines.append(
            f"| `{name}` | {_values(field.annotation)} | {_shown(default)} | {field.description} |"
        )
    names = next(iter(EFFORTS.values()))._fields
    lines += [
        "\n## Efforts\n",
        "| | " + " | ".join(EFFORTS) + " |",
        "|---" * (len(EFFORTS) + 1) + "|",
    ]
    lines += [
        f"| {name.replace('_', ' ')} | "
        + " | ".join(f"{getattr(limits, name):,}" for limits in EFFORTS.values())
        + " |"
        for name in names
        if name != "bounds"
    ]
    lines += [
        f"| tokens of one continuation: {part} | "
        + " | ".join(f"{getattr(limits.bounds, part):,}" for limits in EFFORTS.values())
        + " |"
        for part in Bounds._fields
    ]
    return "\n".join(lines) + "\n"


def event_contract() -> str:
    """Every event with its fields."""
    kinds = [*get_args(get_args(events.Event)[0]), Finished]
    parts = [
        "# Events\n",
        _MADE
        + 'What `stream_mode="custom"` yields, as plain dicts; with `subgraphs=True` those of '
        "researchers too. `type` tells the event; fields are only ever added. `event_from(value)` "
        "makes a typed object of one; `stream_events(graph, question)` yields them so.\n",
    ]
    for kind in kinds:
        (name,) = get_args(kind.model_fields["type"].annotation)
        parts += _fields(kind, name)
    return "\n".join(parts).rstrip() + "\n"


def report_contract() -> str:
    """Every field of a report as JSON, and what the other formats are."""
    parts = ["# A report as a file\n", _MADE + _REPORT]
    for kind in (
        report_record.ReportRecord,
        report_record.ReportClaim,
        report_record.ReportQuote,
        report_record.ReportSource,
        report_record.MissingPart,
        report_record.RunCost,
    ):
        parts += _fields(kind, kind.__name__)
    return "\n".join(parts).rstrip() + "\n"


def training() -> str:
    """What each setting of verl may be in training, and why."""
    head = _TRAINING.replace("{ran}", what_ran(CONFIGS)).replace("{plans}", _plans())
    parts = ["# Training: settings and what ran\n", _MADE + head]
    for title, allowances in (
        ("What is learned", LEARNING),
        ("What is trained, and with what", TRAINING),
        ("The engine that samples", SAMPLING),
    ):
        parts += [
            f"### {title}\n",
            "| setting | right | another value | shown by |",
            "|---|---|---|---|",
        ]
        parts += [_allowance(each) for each in allowances] + [""]
    parts += ["### Losses of verl that are refused\n", "| `policy_loss.loss_mode` | |", "|---|---|"]
    parts += [f"| `{name}` | {reason} |" for name, reason in BY_ROW.items()]
    return "\n".join(parts).rstrip() + "\n"


def what_ran(folder: Path) -> str:
    """Every run that a folder of configurations holds, by what it is for. Raises KeyError for a
    name whose end says nothing of it."""
    runs: dict[str, list[str]] = {end: [] for end in _RAN}
    for file in sorted(folder.glob("[!_]*.yaml"), key=lambda file: ("sft_" in file.stem, file)):
        if "\ndefaults:\n" in file.read_text("utf-8"):
            runs[file.stem.rpartition("_")[2]].append(f"`{file.stem}`")
    rows = [
        f"| {_RAN[end][0]} | {', '.join(names)} | {_RAN[end][1]} |" for end, names in runs.items()
    ]
    rows.insert(1, "| 1 | none | `python -m rl.gpu_check` stands ready for it, and never ran |")
    return "\n".join(["| GPUs | configurations | what was done |", "|---|---|---|", *rows])


def _plans() -> str:
    """The plans, counted where what trains is installed; elsewhere as the page has them."""
    if find_spec("verl"):
        from rl.plan.gpu_files import plans_table

        return plans_table()
    (plans,) = _PLANS.findall((DOCS / "training.md").read_text("utf-8"))
    return str(plans)


def _allowance(allowance: Allowance) -> str:
    setting = allowance.setting.replace("{model}", "actor_rollout_ref.model").replace(
        "{engine}", "actor_rollout_ref.actor.fsdp_config"
    )
    mark = " †" if len(allowance.kinds) > 1 else ""
    source = allowance.source.partition(" ")[0]
    place = f"[{Path(source).name}](../{source})" if source.startswith("tests/") else f"`{source}`"
    return f"| `{setting}`{mark} | {allowance.accepted()} | {allowance.why} | {place} |"


def _fields(kind: type[BaseModel], name: str) -> list[str]:
    described = {field: value.description or "" for field, value in kind.model_fields.items()}
    meanings = described | _attribute_docstrings(kind)
    rows = [
        f"| `{field}` | {_values(value.annotation)} | {meanings[field]} |"
        for field, value in kind.model_fields.items()
        if field != "type"
    ]
    head = [f"## `{name}`\n", f"{inspect.getdoc(kind)}\n", "| field | values | meaning |"]
    return [*head, "|---|---|---|", *rows, ""]


def _values(annotation: Any) -> str:
    return " or ".join(_kinds(annotation)).replace("|", "\\|")


def _kinds(annotation: Any) -> Iterator[str]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        yield from (f"`{each}`" for each in arguments)
    elif origin in (tuple, list):
        yield f"list of {_values(arguments[0])}"
    elif origin is dict:
        yield f"{_values(arguments[1])} by {_values(arguments[0])}"
    elif arguments:
        for each in arguments:
            yield from _kinds(each)
    elif annotation is not type(None):
        yield {str: "text", int: "whole number", float: "number", bool: "true or false"}.get(
            annotation, getattr(annotation, "__name__", str(annotation))
        )
    else:
        yield "empty"


def _shown(default: object) -> str:
    return "" if default in (None, (), {}) else f"`{default}`"


def _attribute_docstrings(kind: type[BaseModel]) -> dict[str, str]:
    (declared,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(declared, ast.ClassDef)
    meanings = {}
    for field, text in zip(declared.body, declared.body[1:], strict=False):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(
                value=ast.Constant(value=str(s))
            ):
                meanings[name] = " ".join(s.split())
    return meanings


PAGES: Final = {
    "settings.md": settings,
    "events.md": event_contract,
    "report.md": report_contract,
    "training.md": training,
}

if __name__ == "__main__":
    for file, page in PAGES.items():
        (DOCS / file).write_text(page(), "utf-8")
