"""What a language model adds to the check, and how it judges: by hand, an hour on two cores.

    python -m tests.agreement.small_model BASE_URL verifier [SENTENCES]
    python -m tests.agreement.small_model BASE_URL judge [SYSTEMS] [DOCUMENTS]

verifier: drawn sentences that their sources bear out, as they are and made wrong in four ways; of
each how many are known (quoted, found, supported) by words, and with the model. judge: key points
of REALSumm's summaries, against people.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from random import Random
from statistics import fmean
from typing import Final

from oresearch_graph.errors import JudgeError
from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.judging.model_judge import ModelJudge
from oresearch_graph.judging.verifier import Verifier
from oresearch_graph.policies.chat.servers import served_model
from oresearch_graph.rows.ground_truth import GroundTruth, KeyPoint
from oresearch_graph.trace import Source
from oresearch_graph.trace.answer import parse_answer
from tests.agreement.drawn import drawn
from tests.agreement.labelled import Labelled
from tests.agreement.mutations import MUTATIONS
from tests.agreement.realsumm import correlation, documents

WAYS: Final = ("negated", "other name", "invented clause", "shuffled")
_SEED: Final = 14


async def verify(base_url: str, count: int) -> None:
    """A table: known by words, and with the model, of the sentences as they are and each way."""
    random = Random(_SEED)  # noqa: S311 - no secret
    rows = [row for row in drawn(_SEED) if row.title]
    random.shuffle(rows)
    verifier = Verifier(await served_model(base_url), base_url=base_url, concurrency=1)
    counts: Counter[tuple[str, str]] = Counter()
    done, seconds, calls, faults = 0, 0.0, 0, 0
    for row in rows:
        texts = {"untouched": row.claim} | {
            way: text
            for way in WAYS
            if (text := MUTATIONS[way](row.claim, row.text, random)) is not None
        }
        if len(texts) <= len(WAYS):
            continue
        began = time.monotonic()
        words, model, spent, failed = await _known(row, list(texts.values()), verifier)
        seconds += time.monotonic() - began
        calls, faults, done = calls + spent, faults + failed, done + 1
        for way, by_words, by_model in zip(texts, words, model, strict=True):
            counts[way, "all"] += 1
            counts[way, "words"] += by_words
            counts[way, "model"] += by_model
        sys.stderr.write(f"{done} of {count}, {seconds:.0f} s\n")
        if done == count:
            break
    say("| sentences | known by words | with the model |\n|---|---|---|")
    for way in ("untouched", *WAYS):
        total = counts[way, "all"]
        say(f"| {way}, {total} | {counts[way, 'words']} | {counts[way, 'model']} |")
    say(f"{verifier.name}: {calls} calls, {seconds:.0f} s, {faults} requests failed")


async def _known(
    row: Labelled, texts: list[str], verifier: Verifier
) -> tuple[list[bool], list[bool], int, int]:
    """Of each text whether it is known by words, and with the model; calls, and failed requests."""
    sources = [Source.of(id=1, url="https://source.example", title=row.title[:300], text=row.text)]
    report = parse_answer("\n\n".join(f"{text.rstrip('.')} [1]." for text in texts))
    citations = verify_report(report, sources)
    findings = await verifier.verify(report, citations, sources)

    def known(claims: object) -> list[bool]:
        return [claim.holds for claim in claims]  # type: ignore[attr-defined]

    words, model = known(citations.claims), known(findings.citations.claims)
    return words, model, findings.spent.calls, len(findings.faults)


async def judge(base_url: str, systems: int, of_documents: int) -> None:
    """Rank correlation of the model's quality with people's, over systems and documents drawn."""
    random, every = Random(_SEED), documents()  # noqa: S311 - no secret
    chosen = random.sample(range(len(every[0].summaries)), systems)
    model = ModelJudge(await served_model(base_url), base_url=base_url, concurrency=1)
    ours, people, within = list[float](), list[float](), list[float]()
    failed, began = 0, time.monotonic()
    for number, document in enumerate(random.sample(every, of_documents), start=1):
        truth = GroundTruth(key_points=tuple(KeyPoint(text=unit) for unit in document.units))
        own, held = [], []
        for system in chosen:
            try:
                verdict = await model.judge("What happened?", document.summaries[system], truth)
            except JudgeError:
                failed += 1
                continue
            own.append(verdict.quality)
            held.append(document.held[system])
        ours, people = [*ours, *own], [*people, *held]
        if len(set(held)) > 1 and len(set(own)) > 1:
            within.append(correlation(own, held))
        sys.stderr.write(f"{number} of {of_documents}, {time.monotonic() - began:.0f} s\n")
    say(
        f"{model.name}: {len(ours)} summaries, pooled {correlation(ours, people):.2f}, within "
        f"documents {fmean(within):.2f} ({len(within)}), mean {fmean(ours):.2f} of people's "
        f"{fmean(people):.2f}, {failed} not judged, {time.monotonic() - began:.0f} s"
    )


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(base_url: str, what: str, *numbers: str) -> None:
    sizes = [int(number) for number in numbers]
    if what == "verifier":
        asyncio.run(verify(base_url, *(sizes or [40])))
    else:
        asyncio.run(judge(base_url, *(sizes or [4, 25])))


if __name__ == "__main__":
    main(*sys.argv[1:])
