"""Start-up rules about files: questions that can be judged, traces and models of the same protocol,
a chat template that does not think for the policy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from transformers import AutoTokenizer

from oresearch_graph.errors import OresearchError
from oresearch_graph.trace import Protocol
from rl.check.problem import Launch, Problem
from rl.rollouts.reward import read_truth
from rl.rollouts.thread_tokens import ThreadTokens
from rl.rollouts.worker import VALIDATION
from rl.rows.fingerprint import dataset_fingerprint, read_fingerprint, training_protocol
from rl.settings import RLSettings

_COLUMNS = ("prompt", "reward_model", "data_source")
_MAKE = "write them with python -m rl.rl_rows QUESTIONS.jsonl OUT.parquet"


def model_is_named(launch: Launch) -> Iterator[Problem]:
    """A model, and a folder that holds one where a folder is meant."""
    key = f"{launch.model_key}.path"
    value = launch.get(key)
    if not value or value == "???":
        yield Problem(key, "no model is named", f"{key}=FOLDER")
    elif launch.model_folder is None and str(value).startswith((".", "/", "~")):
        yield Problem(
            key, f"there is no folder {value}", "correct the path, or name a model of the hub"
        )
    elif (folder := launch.model_folder) and not (folder / "config.json").is_file():
        yield Problem(
            key,
            f"{folder} holds no config.json",
            "name a Hugging Face folder; python -m rl.export makes one of a checkpoint",
        )


def questions_can_be_judged(launch: Launch) -> Iterator[Problem]:
    """Each row has a prompt and what the judge reads."""
    for key in ("data.train_files", "data.val_files"):  # verl opens both, validation or not
        yield from _question_files(launch, key)


def _question_files(launch: Launch, key: str) -> Iterator[Problem]:
    files = launch.files(key)
    if not files:
        yield Problem(key, "no file is named", _MAKE)
    for file in files:
        if not Path(file).expanduser().is_file():
            yield Problem(key, f"there is no file {file}", _MAKE, refused=not launch.dry_run)
            continue
        if why := _unfit_questions(launch, Path(file).expanduser()):
            yield Problem(key, f"{file}: {why}", _MAKE)


def validation_is_told_apart(launch: Launch) -> Iterator[Problem]:
    """Rows of validation say so: verl tells agent loops nothing else by which to know them."""
    validated = launch.whole("trainer.test_freq", -1) > 0
    if not validated and not launch.get("trainer.val_before_train"):
        return
    for file in launch.files("data.val_files"):
        path = Path(file).expanduser()
        if not path.is_file() or "extra_info" not in pq.read_schema(path).names:
            continue
        rows = pq.read_table(path, columns=["extra_info"]).column("extra_info").to_pylist()
        others = {split for row in rows if (split := (row or {}).get("split")) not in VALIDATION}
        if others:
            yield Problem(
                "data.val_files",
                f"{file}: rows of the split {min(map(str, others))!r} would be counted as "
                "training rollouts in the log and the traces",
                "write them with python -m rl.rl_rows … --split validation",
            )


def _unfit_questions(launch: Launch, file: Path) -> str | None:
    """Why a file of questions cannot be trained on; None if it can."""
    try:
        names = pq.read_schema(file).names
        if missing := [name for name in _COLUMNS if name not in names]:
            return f"the column {missing[0]} is missing"
        rows = pq.read_table(file, columns=["reward_model"]).column("reward_model").to_pylist()
    except (OSError, pa.ArrowInvalid) as error:
        return f"not a Parquet file: {error}"
    batch = launch.whole("data.train_batch_size", 1)
    if file.as_posix() in launch.files("data.train_files") and len(rows) < batch:
        return f"{len(rows)} questions are fewer than data.train_batch_size {batch}"
    exact = _exact_judge(launch.settings)
    for index, row in enumerate(rows):
        if why := _unjudgeable(row, exact):
            return f"row {index}: {why}"
    return None


def _exact_judge(settings: RLSettings) -> str | None:
    """Which judge of the run wants facts that can be looked up, by its key; None where none."""
    if settings.judge.kind == "exact_facts":
        return "oresearch.judge"
    audited = settings.audit.share and settings.audit.judge.kind == "exact_facts"
    return "oresearch.audit.judge" if audited else None


def _unjudgeable(cell: Any, exact: str | None) -> str | None:  # noqa: ANN401 - of `reward_model`
    try:
        truth = read_truth({"reward_model": cell if isinstance(cell, dict) else None})
    except OresearchError as error:
        return str(error)
    if exact and truth.not_exact:
        return f"{truth.not_exact}, or set {exact}.kind=model"
    return None


def traces_are_there(launch: Launch) -> Iterator[Problem]:
    """SFT files exist and hold traces of the protocol that the settings train."""
    if launch.get("data.custom_cls.name") != "TraceSFTDataset":
        yield Problem(
            "data.custom_cls",
            f"{launch.get('data.custom_cls.name')} does not mask by authorship",
            "data.custom_cls.path=pkg://rl.rows.sft_dataset data.custom_cls.name=TraceSFTDataset",
        )
    keys = ["data.train_files"] + (["data.val_files"] if launch.get("data.val_files") else [])
    for key in keys:
        for file in launch.files(key):
            path = Path(file).expanduser()
            if not path.is_file():
                fix = "python -m datagen export makes it"
                yield Problem(key, f"there is no file {file}", fix, refused=not launch.dry_run)
            elif problem := _other_traces(launch, key, path):
                yield problem


def _other_traces(launch: Launch, key: str, path: Path) -> Problem | None:
    try:
        fingerprints = dataset_fingerprint(path)
    except OresearchError as error:
        return Problem(key, str(error), "export the traces again")
    for execution, fingerprint in fingerprints.items():
        expected = training_protocol(launch.research, execution).fingerprint
        if fingerprint != expected:
            return Problem(
                key,
                f"{path} holds traces of the protocol {fingerprint}, and oresearch.research trains"
                f" {expected}",
                "set execution, dialect, max_subtasks and max_tool_calls as the traces had them",
            )
    return None


def model_knows_protocol(launch: Launch) -> Iterator[Problem]:
    """A model that carries a protocol carries the one that is trained."""
    folders = {f"{launch.model_key}.path": launch.model_folder, **_resumed(launch)}
    try:
        expected = training_protocol(launch.research)
    except OresearchError as error:
        yield Problem("oresearch.research", str(error), "keep them for serving")
        return
    for key, folder in folders.items():
        try:
            carried = read_fingerprint(folder) if folder else None
        except OresearchError as error:
            yield Problem(key, str(error), "export the checkpoint again")
            continue
        if carried and carried.fingerprint != expected.fingerprint:
            yield Problem(
                key,
                f"{folder} was trained on the protocol {carried.fingerprint}, and this run's is"
                f" {expected.fingerprint} ({_difference(carried, expected)})",
                "set oresearch.research as the model was trained, or start from another model",
            )


def _resumed(launch: Launch) -> dict[str, Path | None]:
    """The checkpoint that the run would go on from, under the key that says so."""
    mode, step = launch.get("trainer.resume_mode"), None
    key = "trainer.resume_from_path" if mode == "resume_path" else "trainer.default_local_dir"
    if mode == "resume_path" and (path := launch.get(key)):
        step = Path(str(path))
    elif mode == "auto":
        runs = Path(str(launch.get(key, "")))
        latest = runs / "latest_checkpointed_iteration.txt"
        if latest.is_file():
            step = runs / f"global_step_{latest.read_text(encoding='utf-8').strip()}"
    if step is None:
        return {}
    return {key: step / "actor" if (step / "actor").is_dir() else step}


def _difference(carried: Protocol, expected: Protocol) -> str:
    return ", ".join(
        f"{name} {getattr(carried, name)} against {getattr(expected, name)}"
        for name in Protocol.model_fields
        if getattr(carried, name) != getattr(expected, name)
    )


def prompt_does_not_think(launch: Launch) -> Iterator[Problem]:
    """The generation prompt ends where the assistant's message begins: Qwen3's template writes an
    empty think block there when thinking is off, a Thinking model's opens one always."""
    key, name = "data.apply_chat_template_kwargs", str(launch.get(f"{launch.model_key}.path", ""))
    arguments, folder = launch.get(key, {}), launch.model_folder
    if folder is None or not (folder / "tokenizer_config.json").is_file():
        if "qwen3" in name.lower() and arguments.get("enable_thinking") is not True:
            yield _thinks(key, f"{name} writes an empty <think></think> unless thinking is on")
        return
    tokens = ThreadTokens(AutoTokenizer.from_pretrained(folder), arguments)
    if not tokens.tokenizer.chat_template:
        yield Problem(
            f"{launch.model_key}.path",
            f"the tokenizer in {folder} has no chat template",
            "take an instruct model, or put chat_template.jinja into the folder",
        )
    elif "<think" in tokens.decode(tokens.opening("s", "q")):
        yield _thinks(key, f"the chat template in {folder} writes <think> into the prompt")


def _thinks(key: str, what: str) -> Problem:
    return Problem(
        key,
        f"{what}, where the protocol's own first <think> belongs",
        f"+{key}.enable_thinking=true; a model that always opens <think> cannot be trained",
    )


GRPO_RULES = (
    model_is_named,
    questions_can_be_judged,
    validation_is_told_apart,
    model_knows_protocol,
    prompt_does_not_think,
)
SFT_RULES = (model_is_named, traces_are_there, model_knows_protocol, prompt_does_not_think)
