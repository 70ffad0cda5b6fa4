"""Domain labels and questions by a model: asked once, checked like any other, never in the way."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from datagen.records import Dropped
from datagen.run.folder import Work
from datagen.run.record_files import read_records
from datagen.seeds.stage import make_seeds
from tests.helpers import seeding
from tests.helpers.datagen_work import said
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.seeding import kept
from tests.helpers.server_habits import (
    Fault,
    Message,
)
from tests.helpers.small_model import forget_probes

GIVEN = ["How do the Moon and the Sun cause tides?", "How do central banks fight inflation?"]
WRITTEN = [
    "How have ice cores changed what is known of the climate of the Holocene?",
    "Is water wet?",
    "How do the Moon and the Sun cause the tides?",
    "Which mechanisms let birds find their way over oceans, and how were they found?",
    "How do vaccines against malaria differ in the immunity they give?",
    "What explains the size of the largest dinosaurs?",
]


def brain(messages: list[Message], body: dict[str, Any]) -> str:
    prompt = messages[-1]["content"]
    if prompt.startswith("Each numbered question"):
        lines = re.findall(r"^(\d+): (.*)$", prompt, re.MULTILINE)
        return "\n".join(
            f"{number}. {'economy and Finance' if 'banks' in question else '**Science**'}"
            for number, question in lines
            if not question.startswith("<")
        )
    return "Here they are:\n" + "\n".join(f"{n}. {q}" for n, q in enumerate(WRITTEN, start=1))


def work_in(folder: Path, base_url: str, *questions: str, **seeds: Any) -> Work:
    file = folder / "a.jsonl"
    file.write_text("".join(json.dumps({"question": q}) + "\n" for q in questions or GIVEN))
    told = {"files": [str(file)], "model": "fake", "base_url": base_url, **seeds}
    return seeding.work_in(folder, **told)


def test_domains_are_labelled_in_batches_and_once(tmp_path: Path):
    more = [f"How does the animal called {name} live?" for name in ("yak", "emu", "elk", "cod")]
    questions = [*GIVEN, *(f"{q[:-1]} in {place}?" for q in more for place in
                           ("Norway", "Peru", "Chad", "Laos", "Fiji"))]  # fmt: skip
    with OpenAIServer(brain) as server:
        work = work_in(tmp_path, server.base_url, *questions)
        make_seeds(work)
        assert len(server.requests) == 2
        assert [seed.domain for seed in kept(work)][:3] == [
            "Science", "Economy and finance", "Science",
        ]  # fmt: skip
        make_seeds(work)
        assert len(server.requests) == 2
        make_seeds(work_in(tmp_path, server.base_url, *questions, "How does a yak sleep in snow?"))
        assert len(server.requests) == 3
    assert "yak sleep" in server.requests[-1]["messages"][-1]["content"]
    assert "Norway" not in server.requests[-1]["messages"][-1]["content"]


def test_questions_are_written_up_to_the_wanted_number_and_pass_the_same_checks(tmp_path: Path):
    with OpenAIServer(brain) as server:
        work = work_in(tmp_path, server.base_url, write={"Science": 4, "Economy and finance": 1})
        counts = make_seeds(work)
        assert (counts["seeds"], counts["written"]) == (5, 3)
        first = work.run.seeds.read_bytes()
        asked = len(server.requests)
        make_seeds(work)
        assert (work.run.seeds.read_bytes(), len(server.requests)) == (first, asked)
    written = kept(work)[2:]
    assert [seed.question for seed in written] == [WRITTEN[0], WRITTEN[3], WRITTEN[4]]
    assert {(seed.origin, seed.domain, seed.source, seed.language) for seed in written} == {
        ("written", "Science", "fake", "en")
    }
    dropped = {each.question: each.reason for each in read_records(work.run.dropped_seeds, Dropped)}
    assert dropped == {WRITTEN[1]: "not_open_ended", WRITTEN[2]: "duplicate"}


def test_what_is_asked_does_not_hang_on_the_files(tmp_path: Path):
    with OpenAIServer(brain) as server:
        make_seeds(work_in(tmp_path, server.base_url, write={"Art": 3}, label_domains=False))
        more = [*GIVEN, "How do glaciers move through a valley?"]
        work = work_in(tmp_path, server.base_url, *more, write={"Art": 3}, label_domains=False)
        assert make_seeds(work)["written"] == 3
        assert len(server.requests) == 1


def test_a_model_that_writes_too_little_is_told_of(tmp_path: Path):
    with OpenAIServer(brain) as server:
        work = work_in(tmp_path, server.base_url, write={"Science": 30}, write_rounds=2)
        counts = make_seeds(work)
        asked = [r["messages"][-1]["content"] for r in server.requests]
    assert counts["written"] == 4
    assert "Science: 25 questions not written: too few of fake's questions passed" in said(work)
    assert "written already" not in asked[1]
    assert all(question in asked[2] for question in WRITTEN)
    assert len(asked) == 1 + 3


def test_a_failing_model_is_a_line_and_the_given_seeds_stand(tmp_path: Path):
    with OpenAIServer(brain) as server:
        server.fault_for = lambda body: Fault("status", 401)
        work = work_in(tmp_path, server.base_url, write={"Science": 4, "Art": 2})
        counts = make_seeds(work)
        assert (counts["seeds"], counts["written"]) == (2, 0)
        lines = said(work).strip().splitlines()
        assert len(lines) == 2
        assert lines[0].startswith("not all domains are labelled: ")
        assert lines[1].startswith("Science: 4 questions not written: ")
        server.fault_for = None
        assert make_seeds(work)["written"] == 4, "the next run asks again"


def test_a_model_that_cannot_be_had_is_a_line(tmp_path: Path):
    work = work_in(tmp_path, "no address", write={"Science": 4})
    assert make_seeds(work)["seeds"] == 2
    assert "no labels and no written questions: 'no address' is no base URL" in said(work)


def test_a_slow_server_has_its_time_and_a_bound(tmp_path: Path):
    forget_probes()
    with OpenAIServer(brain, slots=1, pace=9.0) as server:
        work = work_in(tmp_path, server.base_url)
        make_seeds(work)
        assert {seed.domain for seed in kept(work)} == {"Science", "Economy and finance"}
        assert server.requests[-1]["max_completion_tokens"] == 2_000
