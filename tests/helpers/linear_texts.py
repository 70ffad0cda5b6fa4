"""Hostile texts of any length: what makes a reader look at the same characters again and again.
They stand alone, or in every place of a trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from oresearch_graph.trace import Source, Step, Trace, world_step

Reader = Callable[[str], object]


class Family(NamedTuple):
    """`head`, then `unit` as often as the length takes, then `tail`."""

    unit: str
    head: str = ""
    tail: str = ""

    def text(self, length: int) -> str:
        return self.head + self.unit * max(1, length // len(self.unit)) + self.tail


_RUNS: Final = (
    " ", "\n", "\t", "\r\n", "\u3000", "\x00", "<", "&", "`", "[", "]", "(", ")", "*", "_", "#",
    "|", "-", "=", "~", "+", "/", "\\", "@", "0", "7", ".", "…", ",", ";", ":", "!", "?", "'", '"',
    "“", "”", "「", "【", "】", "（", "a", "A", "é", "中", "あ", "。", "，", "{", "}", "$", "%",
    "^",
)  # fmt: skip
"""One character over and over, with and without an end that nothing fits."""
_UNITS: Final = (
    # white space and lines
    " a", "a ", " \n", "\n ", "\n\n", "\n\na", "a\n", "a  \n", " \n \n", ". ", ".\n", "a.\n\n",
    "。\n", "\n.", "A.", "a. ", "e.g. ", "1. ", "- ", "* ", "a\n- ", "# ", "# a\n", "> ", "| ",
    "|a|\n", "a|b\n-|-\n", "    a\n", "---\n", "===\n", "a\n===\n", "a" * 200 + " ",
    # markup
    "<a ", "<a>", "</", "</a>", "<!-- ", "<!---->", "<pre ", "<pre>", "<script>", "&amp;", "&lt;",
    "&#1", "<think>", "</think>", "<think></think>", "<subtask>", "<observation>",
    "<web_search>a</web_search>", "<web_search>a</web_search>\n<observation>", "< /", "< think",
    "<subtask_answer>a</subtask_answer>",
    # Markdown
    "```\n", "~~~\n", "``` a\n", "`a", "`a`", "`a``", "``a`", "**", "**a", "**a** ", "*a_", "_a*",
    "![", "[a](", "[](", "[a](b", "[a](b)", "[a][", "[a]: /b\n", "[a]", "](", "[[", "[^1]", "\\[",
    # citations and lists
    "[1]", "[1] ", "[1", "[1, ", "[1] [", "[1]\n", "[1]. https://a.b - c\n", "1. a\n", "【1】",
    "【1", "[1001] a\nhttps://a.b/c\n", "[1001] a\n", "a [1]. ", "A a [1].\n", "(1) ", "1) ",
    "## References\n[1] https://a.b\n", "## References\n", "## Query: a\n", "Notice: ",
    # addresses and keys
    "http://", "http://a ", "https://a.b/c ", "url=", "query=a|", "a|", "&num=1", "a@", "a@b.",
    "a.", "a-", "a:", "a::", "://", "a://", "1.2.3.4 ", "1:", "::", "+1 ", "+49 30 ", "file:",
    "%20",
    # words, numbers, names
    "Aa ", "Aa of ", "Aa van Aa ", "aA", "a_", "_a", "a'", "a’a", "a-a-", "1,", "1,000,", "1.000.",
    "1 000 ", "1 ", "12", "1-", "1%", "$1", "2024-", "2024-01-01 ", "1 May ", "May 1, ", "2024年",
    "百分之", "1亿", "一", "中a", "a中", "中 ", "中。", "あ。", "吗？", "和", "a和", "what is ",
    "compare a ", "differences between a ", "should i use a ", " or ", " vs ", " and ", "how ",
    "def a", "class a", "(a", "a(", "a()", ">>>", "\"a\" ", '"a', "“a", "“a”", "「a」", "'a'",
    # objects
    "{", "[{", "[{},", '{"a":', '{"a":[', '{"a":1,', '{"a":"', "{ ", "[ ", '{"criteria": [',
    "\\u00",
)  # fmt: skip
_HEADED: Final = (
    Family(" ", "a", "a"), Family("\n", "a", "a"), Family(" ", "[1]"), Family(" ", "<", "a"),
    Family("`", "a", "\na"), Family("a", "<think>"), Family("a", "<pre "), Family("a", "```\n"),
    Family("a", "[1001] "), Family("a ", "## References\n[1] "), Family("- ", "a", "a"),
    Family("a\n", "[1001] a\nhttps://a.b\n"), Family("amp;", "&"), Family("[{},", '[{},' * 900),
    Family("{},", "[{}," * 300), Family("a,", "query="), Family("1", "-"), Family("1", "+"),
    Family("a ", "“"), Family("a ", '"', '"'), Family(" ", "1.", "a"), Family("a@", "", ".com"),
    Family(" [1]", "a."), Family("a\n\n", "", "[1] https://a.b"), Family("Aa ", "", "."),
)  # fmt: skip


def families() -> dict[str, Family]:
    """Every family by the name that a failing test shows."""
    found = [
        *(Family(run) for run in _RUNS), *(Family(run, tail="\x00x") for run in _RUNS),
        *(Family(unit) for unit in _UNITS), *_HEADED,
    ]  # fmt: skip
    return {f"{f.head[:12]!r}+{f.unit[:30]!r}…+{f.tail!r}": f for f in found}


def whole_trace(text: str) -> Trace:
    """A trace with the text in every place where a stranger's may stand. Of one page no more is
    shown than an observation holds; each claim is looked up in all of that."""
    source = Source.of(
        id=1001, url="https://example.org/tides", text=text[:4_000], title=text[:2_000]
    )
    steps = (
        Step(kind="subtask_list", text=f"1. Tides\n2. {text}"),
        world_step("subtask", text, branch=1),
        Step(kind="think", text=text, branch=1),
        Step(kind="web_search", text=text, branch=1),
        world_step("observation", f"[1001] Tides\nhttps://example.org/tides\n{text}", branch=1),
        Step(kind="subtask_answer", text=f"{text} [1001].", branch=1),
        Step(kind="suggested_answer", text=f"## Introduction\n{text} [1].\n\n## References\n"
             f"[1]. https://example.org/tides - {text}"),
    )  # fmt: skip
    return Trace(id="t.1", question=text, language="en", steps=steps, sources=(source,))


def many_steps(text: str) -> tuple[Step, ...]:
    """The text in pieces of 40 characters, a think, a call or an observation each."""
    pieces = [text[at : at + 40] for at in range(0, len(text), 40)]
    makers: tuple[Callable[[str], Step], ...] = (
        lambda piece: Step(kind="think", text=piece, branch=1),
        lambda piece: Step(kind="web_search", text=piece, branch=1),
        lambda piece: world_step("observation", piece, branch=1),
        lambda piece: Step(kind="stray", text=piece, branch=1),
    )
    return tuple(makers[at % 4](piece) for at, piece in enumerate(pieces))
