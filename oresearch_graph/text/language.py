"""The language of a text: by script first, by py3langid for the languages of the Latin script."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier  # type: ignore[import-untyped]  # no stubs

_SCRIPTS: Final[tuple[tuple[str, str], ...]] = (
    ("ja", "\u3040-\u30ff"),
    ("ko", "\uac00-\ud7af\u1100-\u11ff"),
    ("zh", "\u3400-\u4dbf\u4e00-\u9fff"),
    ("ru", "\u0400-\u04ff"),
    ("ar", "\u0600-\u06ff"),
    ("he", "\u0590-\u05ff"),
    ("el", "\u0370-\u03ff"),
    ("hi", "\u0900-\u097f"),
    ("th", "\u0e00-\u0e7f"),
)
_LATIN: Final = ["en", "de", "fr", "es", "pt", "it", "nl", "pl", "sv", "da", "cs", "tr", "vi", "id"]
_CODES: Final = (*_LATIN, *(code for code, _ in _SCRIPTS))
_ENOUGH: Final = 24
"""Letters under which a Latin text is not worth guessing about."""
_MARGIN: Final = 12.0
"""Log-probability by which a language must beat English: code words look like any language."""

_CLAUSES: Final = re.compile(r"[.?!;,:\n。？！，；：]+")
_CLAUSE: Final = 200
"""Characters of a clause that may tell how to write."""
_REQUEST: Final = re.compile(
    r"""
    (?: (?: and | then | but | please | kindly | und | dann | bitte | et | puis | y | luego
      | por\ favor | e | poi | en | dan | graag ) \b \s*+ | 请 )*+
    (?: (?: (?: your | the | my ) \s (?: report | answer | summary | reply )
      | write | answer | report | reply | respond | summari[sz]e | give | prepare | produce
      | deliver | schreibe? | antworte | verfasse | erstelle | berichte | écri[st] | écrivez
      | répond[sz]? | répondez | rédige[zr]? | escrib[ea] | escriba | responde | responda
      | contest[ea] | redact[ea] | escreva | escreve | scrivi | scriva | rispondi | risponda
      | schrijf | antwoord ) \b .* )?
    (?: \b (?: in | auf | en | em | på | po | in\ het ) \s | 用 | 以 ) (?P<language> .*? )
    (?: \s (?: please | only | bitte | antworten | schreiben ) | 来? (?: 回答 | 写 ) .* )?
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""A clause that asks for a language to write in, named behind its last preposition."""
_QUALIFIED: Final = 3
"""Words of a language's name with what stands before it: simple English."""

_CODE = re.compile(r"```.*?```|`[^`]*`|https?://\S+", re.DOTALL)
_LETTER = re.compile(r"[^\W\d_]")


@lru_cache(maxsize=1_024)
def detect_language(text: str) -> str:
    """ISO 639-1 code of the text's language; "en" when the text is short or unsure.

    The first call on a Latin text loads a model of 0.8 s: run it in a thread.
    """
    prose = _CODE.sub(" ", text)[:4_000]
    letters = len(_LETTER.findall(prose))
    if not letters:
        return "en"
    return _by_script(prose, letters) or _by_words(prose, letters)


def report_language(question: str) -> str:
    """ISO 639-1 code of the language to answer in: what a clause of the question asks for (Write
    the report in German), else the question's own. May load a model, as `detect_language`."""
    own = detect_language(question)
    for clause in _CLAUSES.split(question[:4_000]):
        request = _REQUEST.fullmatch(clause.strip()) if len(clause) <= _CLAUSE else None
        words = request["language"].split() if request else []
        if not 0 < len(words) <= _QUALIFIED:
            continue
        named = [
            {c for c in _CODES if any(n.match(word) for n in _names(c, own))} for word in words
        ]
        if named[-1] and not any(named[:-1]):
            return min(named[-1])
    return own


def names_language(text: str, language: str) -> bool:
    """True where a text names a language: in English, in the text's own language or in itself."""
    return any(name.search(text) for name in _names(language, detect_language(text)))


@cache
def _names(code: str, spoken: str) -> tuple[re.Pattern[str], ...]:
    """A language's names; of one of more than seven letters the stem, as many languages inflect
    it."""
    from babel import Locale  # an eighth of a second to import, for few

    names = {Locale(of).languages.get(code, "") for of in {spoken, code, "en"} & {*_CODES}}
    names |= {f"{name[:-1]}文" for name in names if name.endswith(("语", "語"))}
    patterns = []
    for name in filter(None, names):
        stem = name[:-2] if len(name) > 7 else name
        whole = r"\b" if stem == name else ""
        edges = ("", "") if _by_script(name, len(name)) in ("zh", "ja") else (r"\b", whole)
        patterns.append(re.compile(f"{edges[0]}{re.escape(stem)}{edges[1]}", re.IGNORECASE))
    return tuple(patterns)


def surely_another(text: str, language: str) -> bool:
    """True where a text is surely not in a language: it is long enough, and has another script, or
    words that speak clearly against it."""
    prose = _CODE.sub(" ", text)[:4_000]
    letters = len(_LETTER.findall(prose))
    if letters < _ENOUGH:
        return False
    found = _by_script(prose, letters)
    if found is not None or language not in _LATIN:
        return found != language and {found, language} != {"zh", "ja"}
    ranked = dict(_identifier().rank(prose))
    return bool(max(ranked.values()) - ranked[language] >= _MARGIN)


def _by_script(prose: str, letters: int) -> str | None:
    """A wide script counts double: its words are short, and product names in a Chinese question
    are Latin."""
    counts = {code: len(re.findall(f"[{span}]", prose)) for code, span in _SCRIPTS}
    han, kana = counts["zh"], counts["ja"]
    if kana and kana * 8 >= han and (han + kana) * 5 >= letters:
        return "ja"
    code, most = max(counts.items(), key=lambda item: item[1])
    return code if most * 5 >= letters else None


def _by_words(prose: str, letters: int) -> str:
    if letters < _ENOUGH:
        return "en"
    ranked = dict(_identifier().rank(prose))
    best, score = max(ranked.items(), key=lambda item: item[1])
    return str(best) if score - ranked["en"] >= _MARGIN else "en"


@cache
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    identifier.set_languages(_LATIN)
    return identifier
