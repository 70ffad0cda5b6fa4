from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.evidence.delivery import citation_annotations, deliver
from oresearch_graph.evidence.notices import NOTICES
from oresearch_graph.trace import Source
from oresearch_graph.trace.answer import parse_answer
from oresearch_graph.trace.report_form import HEADINGS

TASKS = Source.of(
    id=1001, url="https://d.example/tasks", title="Tasks",
    text="When a task is cancelled, CancelledError is raised in it. Added in version 3.11.",
)  # fmt: skip
SAME = Source.of(id=2001, url="http://d.example/tasks/", title="Tasks", text=TASKS.text)
LOGS = Source.of(
    id=2002, url="https://d.example/logging", title="",
    text="Loggers form a hierarchy separated by dots in their names.",
)  # fmt: skip
LEDGER = (TASKS, SAME, LOGS)

ANSWER = """\
## Introduction

Loggers form a hierarchy separated by dots [2002][77]. A cancelled task raises CancelledError [1001, 2001].

```python
x = table[1001]
```

Use `y[2002]` freely. The feature was added in version 3.12 [1001]. Nobody knows this fact [88].

## Conclusion

A hierarchy of loggers has names with dots [2002].

## References

[1001]. https://d.example/tasks - Wrong title
[2002]. https://d.example/logging - L
[2001]. https://d.example/tasks/
"""  # noqa: E501


def delivered(answer, **more):
    parsed = parse_answer(answer)
    return deliver(parsed, LEDGER, verify_report(parsed, LEDGER), language="en", **more)


def test_citations_are_renumbered_by_first_appearance_and_one_address_is_one_number():
    done = delivered(ANSWER)
    assert "separated by dots [1]. A cancelled task raises CancelledError [2]." in done.report
    assert [source.url for source in done.references] == [LOGS.url, TASKS.url]
    assert done.report.endswith(
        "## References\n\n"
        "[1]. https://d.example/logging - https://d.example/logging\n\n"
        "[2]. https://d.example/tasks - Tasks\n"
    )
    assert [mark.number for mark in done.answer.marks] == [1, 2, 2, 1]


def test_code_is_left_alone():
    report = delivered(ANSWER).report
    assert "x = table[1001]" in report
    assert "`y[2002]`" in report


def test_marks_that_lead_nowhere_are_removed_and_named():
    done = delivered(ANSWER)
    assert done.dangling == ("[77]", "[88]")
    assert "lead to no source: `[77]`, `[88]`." in done.report
    assert "[77]" not in done.report.split("> ")[0]


def test_claims_that_something_speaks_against_are_marked_and_explained():
    report = delivered(ANSWER).report
    assert "added in version 3.12 [2] (⚠ differs from source)." in report
    assert "Nobody knows this fact." in report
    assert report.count("(⚠ differs from source)") == 1
    assert "> ⚠ differs from source: parts of the sentence" in report


def test_links_become_numbers_and_keep_their_words():
    done = delivered(
        "Loggers form a hierarchy ([Logging](https://d.example/logging)). "
        "As [the tasks page](https://d.example/tasks) and [others](https://nowhere.example) say, a "
        "cancelled task raises an error [[7]](https://d.example/logging)."
    )
    assert done.report.startswith(
        "Loggers form a hierarchy [1]. As the tasks page [2] and others say, a cancelled task "
        "raises an error [1]"
    )
    assert done.dangling == ("https://nowhere.example",)
    assert [source.url for source in done.references] == [LOGS.url, TASKS.url]


def test_a_list_that_no_citation_uses_is_kept():
    listing = "## References\n\n1. https://d.example/tasks - Tasks"
    report = delivered(f"Loggers form a hierarchy.\n\n{listing}\n").report
    assert report.endswith(f"{listing}\n")


def test_a_clean_report_has_no_notes():
    done = delivered("## Introduction\n\nLoggers form a hierarchy separated by dots [2002].")
    assert "⚠" not in done.report
    assert "> " not in done.report


def test_not_covered_and_extractive_notes_are_said_once():
    done = delivered("Nothing.", not_covered=("Limits of tasks.", "History"), extractive=True)
    assert "> Not covered: Limits of tasks; History." in done.report
    assert done.report.count(NOTICES["en"].extractive) == 1
    again = delivered(done.report, extractive=True)
    assert again.report.count(NOTICES["en"].extractive) == 1
    assert "References" not in done.report


def test_sections_after_the_references_are_kept():
    answer = ANSWER + "\n## Appendix\n\nLoggers again [2002].\n"
    report = delivered(answer).report
    assert "## Appendix\n\nLoggers again [1]." in report
    assert report.index("## Appendix") < report.index("## References")


def test_a_reference_list_in_parts_is_rendered_once():
    answer = ANSWER.replace("## References", "## References\n\n### Pages") + "\n## Appendix\n\nEnd."
    report = delivered(answer).report
    assert "## Appendix\n\nEnd." in report
    assert "### Pages" not in report
    assert report.count("https://d.example/tasks") == 1


def test_delivering_twice_changes_nothing():
    once = delivered(
        "Loggers form a hierarchy [2002]. A cancelled task raises CancelledError [1001]."
    )
    assert delivered(once.report).report == once.report


def test_chinese_headings_and_notes():
    source = Source.of(id=1001, url="https://z.example/a", title="甲", text="猫喜欢吃鱼。")
    answer = "## 引言\n\n猫喜欢吃鱼[1001]。狗在2024年学会飞行[1001]。"
    parsed = parse_answer(answer)
    done = deliver(parsed, [source], verify_report(parsed, [source]), language="zh")
    assert "狗在2024年学会飞行[1]（⚠ 与来源不符）。" in done.report
    assert "## 参考文献\n\n[1]. https://z.example/a - 甲" in done.report


def test_every_language_of_the_headings_has_notices():
    assert set(NOTICES) == set(HEADINGS)
    for notices in NOTICES.values():
        assert notices.differs.strip("()（）") in notices.differs_note
        assert notices.removed.count("{}") == notices.not_covered.count("{}") == 1


def test_annotations_point_into_the_delivered_report():
    done = delivered(ANSWER)
    found = citation_annotations(done)
    marks = parse_answer(done.report).marks
    assert [(c["start_index"], c["end_index"]) for c in found] == [m[:2] for m in marks]
    assert [c["url"] for c in found] == [LOGS.url, TASKS.url, TASKS.url, LOGS.url]
    assert found[0]["cited_text"] == LOGS.text
    assert found[1]["title"] == "Tasks"
    assert "title" not in found[0]
    assert found == citation_annotations(done)
