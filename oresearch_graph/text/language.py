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
_ENOUGH: Final = 24
"""Letters under which a Latin text is not worth guessing about."""
_MARGIN: Final = 12.0
"""Log-probability by which a language must beat English: code words look like any language."""

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
