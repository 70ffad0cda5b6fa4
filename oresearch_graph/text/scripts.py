"""Writing systems whose words have no spaces between them."""

from __future__ import annotations

import re
from typing import Final

CJK: Final = (
    "\u3005\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af"
    "\U00020000-\U0003134f"
)
"""Han, kana and hangul, for the inside of a regular expression's character class."""

_CHARACTER = re.compile(f"[{CJK}]")


def has_cjk(text: str) -> bool:
    """True when the text holds a Chinese, Japanese or Korean character."""
    return _CHARACTER.search(text) is not None
