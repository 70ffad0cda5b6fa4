"""The form of a report: introduction, body, conclusion, references, in the question's language."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Final, Literal, NamedTuple, get_args

SectionName = Literal["introduction", "conclusion", "references"]
SECTIONS: Final[tuple[SectionName, ...]] = get_args(SectionName)

HEADINGS: Final[Mapping[str, Mapping[SectionName, tuple[str, ...]]]] = {
    "en": {
        "introduction": ("Introduction", "Overview", "Summary", "Executive summary", "Abstract",
                         "Background"),
        "conclusion": ("Conclusion", "Conclusions", "Concluding remarks", "Closing remarks",
                       "Summary and outlook", "Final remarks", "Summary"),
        "references": ("References", "Sources", "Bibliography", "Works cited", "Citations",
                       "Sources cited", "Sources consulted", "Reference list",
                       "List of references", "Key citations", "Key references", "Key sources",
                       "Cited sources", "Cited works", "Source list", "Footnotes", "Endnotes",
                       "Further reading", "Literature cited"),
    },
    "zh": {
        "introduction": ("引言", "导言", "简介", "概述", "摘要", "前言", "背景", "绪论", "概览"),
        "conclusion": ("结论", "总结", "结语", "总体结论", "小结", "结束语", "总结与展望"),
        "references": ("参考文献", "参考资料", "引用", "来源", "资料来源", "参考来源", "引用来源",
                       "参考文献列表", "引用文献", "信息来源", "参考链接", "引用的著作", "引用著作",
                       "关键引用", "主要参考文献", "数据来源", "脚注", "注释",
                       "參考文獻", "參考資料", "資料來源"),
    },
    "ja": {
        "introduction": ("はじめに", "序論", "概要", "導入", "要約"),
        "conclusion": ("結論", "まとめ", "おわりに", "終わりに"),
        "references": ("参考文献", "参照", "出典", "参考資料", "引用文献", "引用元", "脚注",
                       "参考リンク", "情報源"),
    },
    "ko": {
        "introduction": ("서론", "개요", "소개", "들어가며", "요약"),
        "conclusion": ("결론", "맺음말", "마치며", "정리"),
        "references": ("참고문헌", "참고 문헌", "출처", "참고자료", "각주", "인용 문헌",
                       "인용문헌"),
    },
    "de": {
        "introduction": ("Einleitung", "Einführung", "Überblick", "Zusammenfassung"),
        "conclusion": ("Fazit", "Schlussfolgerung", "Schluss", "Schlussbetrachtung",
                       "Zusammenfassung"),
        "references": ("Quellen", "Literatur", "Literaturverzeichnis", "Quellenverzeichnis",
                       "Referenzen", "Quellenangaben", "Belege", "Fußnoten",
                       "Einzelnachweise"),
    },
    "fr": {
        "introduction": ("Introduction", "Résumé", "Aperçu", "Contexte"),
        "conclusion": ("Conclusion", "Conclusions", "Synthèse"),
        "references": ("Références", "Sources", "Bibliographie", "Ouvrages cités",
                       "Sources citées", "Notes de bas de page"),
    },
    "es": {
        "introduction": ("Introducción", "Resumen", "Visión general", "Contexto"),
        "conclusion": ("Conclusión", "Conclusiones"),
        "references": ("Referencias", "Fuentes", "Bibliografía", "Obras citadas",
                       "Fuentes citadas", "Fuentes consultadas", "Notas al pie"),
    },
    "pt": {
        "introduction": ("Introdução", "Resumo", "Visão geral", "Contexto"),
        "conclusion": ("Conclusão", "Conclusões", "Considerações finais"),
        "references": ("Referências", "Fontes", "Bibliografia", "Obras citadas",
                       "Fontes citadas", "Notas de rodapé"),
    },
    "it": {
        "introduction": ("Introduzione", "Sintesi", "Panoramica", "Contesto"),
        "conclusion": ("Conclusione", "Conclusioni"),
        "references": ("Riferimenti", "Fonti", "Bibliografia", "Opere citate",
                       "Note a piè di pagina"),
    },
    "ru": {
        "introduction": ("Введение", "Обзор", "Аннотация", "Резюме"),
        "conclusion": ("Заключение", "Выводы", "Вывод", "Итоги"),
        "references": ("Источники", "Список литературы", "Литература", "Ссылки",
                       "Использованные источники", "Список источников", "Сноски", "Примечания"),
    },
    "ar": {
        "introduction": ("مقدمة", "المقدمة", "ملخص", "نظرة عامة"),
        "conclusion": ("خاتمة", "الخاتمة", "الخلاصة", "خلاصة"),
        "references": ("المراجع", "مراجع", "المصادر", "مصادر", "قائمة المراجع", "الهوامش"),
    },
}  # fmt: skip
"""Headings by language, the first of each the one that our own reports carry. A word that serves
two sections names the first of them that the report does not have yet."""
_LISTS: Final[Mapping[str, tuple[str, ...]]] = {
    "nl": ("Bronnen", "Referenties", "Bronvermelding", "Voetnoten"),
    "pl": ("Źródła", "Przypisy"),
    "sv": ("Källor", "Referenser", "Fotnoter"),
    "tr": ("Kaynaklar", "Kaynakça", "Dipnotlar"),
    "vi": ("Tài liệu tham khảo", "Nguồn", "Tham khảo"),
    "id": ("Referensi", "Daftar pustaka", "Sumber"),
    "uk": ("Джерела", "Список літератури", "Посилання"),
    "hi": ("संदर्भ", "स्रोत"),
}
"""Headings of reference lists in languages in which no report of ours is written."""
_BOLD: Final = re.compile(r"\*\*([^*]+)\*\*[:：]?")
_BARE: Final = re.compile(r"[^#*|>\-\[]{2,40}")
_NUMBERING: Final = re.compile(
    r"""
    ^ (?: \d+ (?: \.\d+ )* [.)、:：]?
      |   [IVX]+ [.)]
      |   [一二三四五六七八九十]+ [、.．]
      |   第 [一二三四五六七八九十\d]+ [章节節部分]+ [、:：]?
      |   [（(] [一二三四五六七八九十\d]+ [)）] )
    \s*
    """,
    re.VERBOSE,
)
_LONGEST: Final = 300
"""Characters of the longest line that is taken for a heading."""
_JOINED: Final = frozenset("与與和及暨与・と")
"""What may follow a Chinese or Japanese heading word directly: `结论与建议`."""
_AND_MORE: Final = re.compile(r"\s*(?:[^\w\s]|(?:and|et|und|y|e|и|및)\b)")
"""What may follow a word for the references: `References (url)`, not `Sources of error`."""


def _by_word() -> Mapping[str, tuple[tuple[SectionName, str], ...]]:
    meanings: dict[str, tuple[tuple[SectionName, str], ...]] = {}
    for language, sections in HEADINGS.items():
        for section, words in sections.items():
            for word in map(str.casefold, words):
                meanings[word] = (*meanings.get(word, ()), (section, language))
    for language, words in _LISTS.items():
        for word in map(str.casefold, words):
            meanings[word] = (*meanings.get(word, ()), ("references", language))
    return meanings


_WORDS: Final[Mapping[str, tuple[tuple[SectionName, str], ...]]] = _by_word()
_BEGINNINGS: Final = tuple(_WORDS)


class Heading(NamedTuple):
    """A line that is a heading, and what it can name."""

    start: int
    end: int
    title: str
    meanings: tuple[tuple[SectionName, str], ...]
    """Required sections and the languages in which its words name them; empty: one of the body."""

    def name_in(
        self, language: str | None, names: Collection[SectionName]
    ) -> tuple[SectionName | None, str | None]:
        """What it names in a report of this language that has the sections `named` already."""
        if not self.meanings:
            return None, None
        return min(self.meanings, key=lambda each: (each[1] != language, each[0] in names))


class Section(NamedTuple):
    """One heading and the text below it, up to the next heading of the report."""

    name: SectionName | None
    """Which of the required sections it is; None for a section of the body."""
    language: str | None
    """The language its heading belongs to; None when no required name fits."""
    heading: str
    heading_start: int
    start: int
    end: int


def heading_for(section: SectionName, language: str | None) -> str:
    """The heading our own reports carry; English where the language has no entry."""
    return HEADINGS.get(language or "en", HEADINGS["en"])[section][0]


def lines_of(text: str) -> list[tuple[int, str]]:
    """Each line with its offset; only a line feed ends a line, and a carriage return stays."""
    lines, at = [], 0
    for line in text.split("\n"):
        lines.append((at, line))
        at += len(line) + 1
    return lines


def fence_spans(lines: Sequence[tuple[int, str]]) -> list[tuple[int, int]]:
    """Fenced code blocks, fences included; one that is never closed reaches to the end."""
    spans: list[tuple[int, int]] = []
    start, mark = 0, ""
    for at, line in lines:
        stripped = line.strip()
        if mark:
            if stripped.startswith(mark) and not stripped.strip(mark[0]):
                spans.append((start, at + len(line)))
                mark = ""
        elif stripped.startswith("~~~") or (
            stripped.startswith("```") and "`" not in stripped.lstrip("`")
        ):
            start, mark = at, stripped[:3]
    end = lines[-1][0] + len(lines[-1][1]) if lines else 0
    return [*spans, (start, end)] if mark else spans


def find_headings(
    lines: Iterable[tuple[int, str]], fences: Iterable[tuple[int, int]]
) -> Iterator[Heading]:
    """The headings among the lines of a report, in order; code fences are passed over."""
    ahead = iter(fences)
    fence = next(ahead, None)
    for start, line in lines:
        while fence is not None and start >= fence[1]:
            fence = next(ahead, None)
        if fence is not None and start >= fence[0]:
            continue
        if (head := _heading(line)) is None:
            continue
        title, marked = head
        meanings = _meanings(title, whole=not marked)
        if meanings or marked:
            yield Heading(start, start + len(line), title, meanings)


def sections_under(
    headings: Sequence[Heading], end: int, language: str | None = None
) -> list[Section]:
    """The sections of a report that reaches to `end`, the required ones named.

    A heading of the wanted `language` is preferred where a word serves several languages.
    """
    sections: list[Section] = []
    names: set[SectionName] = set()
    for heading, after in zip_longest(headings, headings[1:]):
        name, of = heading.name_in(language, names)
        if name is not None:
            names.add(name)
        stop = end if after is None else after.start
        sections.append(Section(name, of, heading.title, heading.start, heading.end, stop))
    return sections


def _heading(line: str) -> tuple[str, bool] | None:
    """The title of a line that may be a heading, and whether `#` marks it as one."""
    line = line.strip()
    if not 2 <= len(line) <= _LONGEST:
        return None
    rest = line.lstrip("#")
    hashes = len(line) - len(rest)
    if hashes:
        title = rest.strip().rstrip("#").rstrip()
        return (title, True) if hashes <= 6 and rest[:1] in {" ", "\t"} and title else None
    if bold := _BOLD.fullmatch(line):
        return bold[1], False
    return (line, False) if _BARE.fullmatch(line) else None


def _meanings(title: str, *, whole: bool) -> tuple[tuple[SectionName, str], ...]:
    """Which required sections a heading can name, each with the language; `whole`: only when it
    says nothing else."""
    plain = _NUMBERING.sub("", title.strip().strip("*_")).strip(" :：*_").casefold()
    meanings = _WORDS.get(plain, ())
    if meanings or whole or not plain.startswith(_BEGINNINGS):
        return meanings
    return tuple(
        meaning
        for word, of_word in _WORDS.items()
        if plain.startswith(word)
        for meaning in of_word
        if _goes_on(plain[len(word) :], meaning[0])
    )


def _goes_on(rest: str, section: SectionName) -> bool:
    """True when what follows a heading's word leaves its meaning: `结论与建议`."""
    if rest[0] in _JOINED:
        return True
    if section == "references":
        return _AND_MORE.match(rest) is not None
    return not rest[0].isalnum()
