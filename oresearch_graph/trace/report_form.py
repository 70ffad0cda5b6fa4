"""The form of a report: introduction, body, conclusion, references, in the question's language."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, get_args

SectionName = Literal["introduction", "conclusion", "references"]
SECTIONS: Final[tuple[SectionName, ...]] = get_args(SectionName)

HEADINGS: Final[Mapping[str, Mapping[SectionName, tuple[str, ...]]]] = {
    "en": {
        "introduction": ("Introduction", "Overview", "Summary", "Executive summary", "Abstract",
                         "Background"),
        "conclusion": ("Conclusion", "Conclusions", "Concluding remarks", "Closing remarks",
                       "Summary and outlook", "Final remarks"),
        "references": ("References", "Sources", "Bibliography", "Works cited", "Citations"),
    },
    "zh": {
        "introduction": ("引言", "导言", "简介", "概述", "摘要", "前言", "背景", "绪论", "概览"),
        "conclusion": ("结论", "总结", "结语", "总体结论", "小结", "结束语", "总结与展望"),
        "references": ("参考文献", "参考资料", "引用", "来源", "资料来源"),
    },
    "ja": {
        "introduction": ("はじめに", "序論", "概要", "導入", "要約"),
        "conclusion": ("結論", "まとめ", "おわりに", "終わりに"),
        "references": ("参考文献", "参照", "出典", "参考資料"),
    },
    "ko": {
        "introduction": ("서론", "개요", "소개", "들어가며", "요약"),
        "conclusion": ("결론", "맺음말", "마치며", "정리"),
        "references": ("참고문헌", "참고 문헌", "출처", "참고자료"),
    },
    "de": {
        "introduction": ("Einleitung", "Einführung", "Überblick", "Zusammenfassung"),
        "conclusion": ("Fazit", "Schlussfolgerung", "Schluss", "Schlussbetrachtung"),
        "references": ("Quellen", "Literatur", "Literaturverzeichnis", "Quellenverzeichnis",
                       "Referenzen"),
    },
    "fr": {
        "introduction": ("Introduction", "Résumé", "Aperçu", "Contexte"),
        "conclusion": ("Conclusion", "Conclusions", "Synthèse"),
        "references": ("Références", "Sources", "Bibliographie"),
    },
    "es": {
        "introduction": ("Introducción", "Resumen", "Visión general", "Contexto"),
        "conclusion": ("Conclusión", "Conclusiones"),
        "references": ("Referencias", "Fuentes", "Bibliografía"),
    },
    "pt": {
        "introduction": ("Introdução", "Resumo", "Visão geral", "Contexto"),
        "conclusion": ("Conclusão", "Conclusões", "Considerações finais"),
        "references": ("Referências", "Fontes", "Bibliografia"),
    },
    "it": {
        "introduction": ("Introduzione", "Sintesi", "Panoramica", "Contesto"),
        "conclusion": ("Conclusione", "Conclusioni"),
        "references": ("Riferimenti", "Fonti", "Bibliografia"),
    },
    "ru": {
        "introduction": ("Введение", "Обзор", "Аннотация", "Резюме"),
        "conclusion": ("Заключение", "Выводы", "Вывод", "Итоги"),
        "references": ("Источники", "Список литературы", "Литература", "Ссылки"),
    },
    "ar": {
        "introduction": ("مقدمة", "المقدمة", "ملخص", "نظرة عامة"),
        "conclusion": ("خاتمة", "الخاتمة", "الخلاصة", "خلاصة"),
        "references": ("المراجع", "مراجع", "المصادر"),
    },
}  # fmt: skip
"""Headings by language, the first of each the one that our own reports carry."""

_HEADING: Final = re.compile(
    r"^[ \t]*(?:(?P<hashes>#{1,6})[ \t]+(?P<marked>.{1,300}?)[ \t]*#*"
    r"|\*\*(?P<bold>[^*\n]+)\*\*[:：]?|(?P<bare>[^\n#*|>\-\[]{2,40}?)[:：]?)[ \t]*$",
    re.MULTILINE,
)
_NUMBERING: Final = re.compile(r"^(?:\d+(?:\.\d+)*[.)、:：]?|[一二三四五六七八九十]+[、.．])\s*")
_FENCE: Final = re.compile(r"^(?:```|~~~).*?(?:^(?:```|~~~)[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)


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


def find_sections(text: str, language: str | None = None) -> list[Section]:
    """The headings of a report in order, the required ones named; code fences are passed over.

    A heading of the wanted `language` is preferred where a word serves several languages.
    """
    fences = [match.span() for match in _FENCE.finditer(text)]
    heads = []
    for match in _HEADING.finditer(text):
        if any(start <= match.start() < stop for start, stop in fences):
            continue
        title = match["marked"] or match["bold"] or match["bare"] or ""
        name, found = _name(title, language, whole=match["marked"] is None)
        if name or match["marked"]:
            heads.append((match, title, name, found))
    starts = [head[0].start() for head in heads] + [len(text)]
    return [
        Section(name, found, title, match.start(), match.end(), after)
        for (match, title, name, found), after in zip(heads, starts[1:], strict=True)
    ]


def _name(
    title: str, language: str | None, *, whole: bool
) -> tuple[SectionName | None, str | None]:
    """Which required section a heading names; `whole`: only when it says nothing else."""
    plain = _NUMBERING.sub("", title.strip()).strip(" :：*").casefold()
    tongues = sorted(HEADINGS, key=lambda tongue: tongue != language)
    for tongue in tongues:
        for section, words in HEADINGS[tongue].items():
            for word in map(str.casefold, words):
                if plain == word or (not whole and _starts(plain, word)):
                    return section, tongue
    return None, None


def _starts(title: str, word: str) -> bool:
    """True when the title begins with the word as a word of its own: `参考文献（url）`."""
    rest = title.removeprefix(word)
    return rest != title and not rest[0].isalnum()
