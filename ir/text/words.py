"""Names and strings of the text form: what stands plainly, what is quoted, and how."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

KEYWORDS: Final = frozenset(
    {"attribute", "base64", "block", "doc", "false", "format_version", "func", "inf", "inputs", "metadata", "nan", "program", "rank",
     "return", "spec_version", "stage", "true", "unnamed"}
)  # fmt: skip
"""Words with a meaning of their own; an op type, a parameter or an attribute so called is quoted."""

_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME: Final = re.compile(r"[A-Za-z0-9_@]+")
_RESOURCE: Final = re.compile(r"[A-Za-z0-9_@.]+")
_SPECIAL: Final = re.compile(r'[^ !#-\[\]-~]')
_SHORT: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_STRING: Final = re.compile(r'"(?:[^"\\\n]|\\["\\ntr]|\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8})*+"')
_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))")
_LONG: Final = {short[1]: char for char, short in _SHORT.items()}


def quote(text: str) -> str:
    """A string literal: printable characters as they are, all others escaped; a lone surrogate is `\\ud800`."""
    return f'"{_SPECIAL.sub(_escape, text)}"'


def unquote(token: str) -> str | None:
    """The inverse of `quote`; None for a string that does not end, or with an escape that there is not."""
    if "\\" not in token:
        return token[1:-1] if len(token) > 1 and token[-1] == '"' else None
    if not _STRING.fullmatch(token):
        return None
    try:
        return _ESCAPE.sub(_unescape, token[1:-1])
    except ValueError:
        return None  # \U00110000 and above are no characters


@lru_cache(maxsize=4096)
def word(name: str) -> str:
    """An op type, parameter, attribute or function name."""
    return name if _WORD.fullmatch(name) and name not in KEYWORDS else quote(name)


def value_name(name: str) -> str:
    """A value's name without its %."""
    return name if _NAME.fullmatch(name) else quote(name)


def resource_name(name: str) -> str:
    """A resource's name without its @."""
    return name if _RESOURCE.fullmatch(name) else quote(name)


def _escape(match: re.Match[str]) -> str:
    char = match.group()
    short = _SHORT.get(char)
    if short is not None:
        return short
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _unescape(match: re.Match[str]) -> str:
    four, eight, short = match.groups()
    return _LONG[short] if short else chr(int(four or eight, 16))
