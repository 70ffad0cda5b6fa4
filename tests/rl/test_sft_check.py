"""What SFT would learn wrongly is refused before it starts."""

from __future__ import annotations

import json

import pytest

from rl.check.startup import check
from rl.launch.composition import compose_config
from tests.helpers.launches import only, tiny_model

pytestmark = pytest.mark.usefixtures("nothing_starts")


def test_sft_rows_of_another_protocol_are_refused(tmp_path):
    rows = tmp_path / "sft.jsonl"
    row = {
        "id": "t-run", "trace_id": "t", "thread": "run", "role": None, "branch": None,
        "question": "q", "system": "s", "fingerprint": "other", "execution": "parallel",
        "segments": [{"author": "policy", "text": "<think>a</think>"}],
    }  # fmt: skip
    rows.write_text(json.dumps(row) + "\n")
    model = tiny_model(tmp_path / "model")
    config = compose_config("sft_cpu_tiny", [f"model.path={model}", f"data.train_files={rows}"])
    assert (
        "holds traces of the protocol other" in only(check(config, "sft"), "data.train_files").what
    )


@pytest.mark.parametrize(
    ("override", "setting", "what"),
    [
        ("data.custom_cls.name=MultiTurn", "data.custom_cls", "mask by authorship"),
        ("data.train_files=/nowhere", "data.train_files", "no file"),
        ("engine.strategy=fsdp", "engine.strategy", "does not run on CPU"),
        ("data.use_dynamic_bsz=true data.max_token_len_per_gpu=100", "data.max_token_len_per_gpu",
         "cannot hold a row"),
        ("trainer.n_gpus_per_node=3", "data.train_batch_size", "3 data-parallel ranks"),
        ("data.max_length=99999", "data.max_length", "positions that the model knows"),
    ],
)  # fmt: skip
def test_sft_refused(tmp_path, override, setting, what):
    model = tiny_model(tmp_path / "model")
    config = compose_config("sft_cpu_tiny", [f"model.path={model}", *override.split()])
    found = only(check(config, "sft"), setting)
    assert found.refused
    assert what in found.what
