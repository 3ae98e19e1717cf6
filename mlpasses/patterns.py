"""Patterns of names: globs, and regular expressions after `re:`. Both match in full."""

from __future__ import annotations

import re
import warnings
from fnmatch import translate
from itertools import pairwise
from typing import Final

from attrs import field, frozen

from mlpasses.errors import ConfigError

REGEX: Final = "re:"
"""What a pattern that is a regular expression starts with."""


@frozen
class Pattern:
    """A glob, or a regular expression (`re:…`) that has to match in full."""

    text: str
    regex: re.Pattern[str] = field(init=False, eq=False, repr=False)
    fragment: str = field(init=False, eq=False, repr=False)
    """A text that stands in all that matches, empty where none is known: to look for it first is ten times cheaper than to match."""

    @regex.default
    def _compiled(self) -> re.Pattern[str]:
        if not self.text.startswith(REGEX):
            return re.compile(translate(self.text))
        body = self.text.removeprefix(REGEX)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", FutureWarning)
                return re.compile(body)
        except FutureWarning as error:
            warned = str(error)[:1].lower() + str(error)[1:]
            hint = r"escape what is meant as it stands, such as \["
            raise ConfigError(f"{source_text(self.text)} may mean something else in a later Python: {warned}; {hint}") from error
        except (re.error, RecursionError, OverflowError) as error:
            glob = f"; did you mean the glob {source_text(body)}?" if body.startswith(("*", "?")) else ""
            raise ConfigError(f"{source_text(self.text)} is no regular expression: {error}{glob}") from error

    @fragment.default
    def _needed(self) -> str:
        if not self.text.startswith(REGEX):
            return max(_GLOB_PARTS.split(self.text), key=len)
        return "" if self.regex.flags & (re.IGNORECASE | re.VERBOSE) else _needed_text(self.text.removeprefix(REGEX))

    def matches(self, text: str) -> bool:
        return self.fragment in text and self.regex.fullmatch(text) is not None


_GLOB_PARTS: Final = re.compile(r"\[!?\]?[^\]]*\]|[*?\[\]]")
_REGEX_PARTS: Final = re.compile(r"\\N\{[^}]*\}|\\.[A-Za-z0-9]*|\[\^?\]?(?:\\.|[^\]\\])*\]|\{[^}]*\}|[A-Za-z0-9_ -]+|.", re.DOTALL)
"""Escapes with the digits that may belong to them, sets, counts, plain text, and all else by the character."""


def _needed_text(body: str) -> str:
    """The longest plain text at the top level of a regular expression: what matches has to contain it."""
    longest, depth = "", 0
    parts = _REGEX_PARTS.findall(body)
    for part, following in pairwise([*parts, ""]):
        if part == "|" and not depth:
            return ""
        depth += (part == "(") - (part == ")")
        if depth or part[0] not in _PLAIN:
            continue
        needed = part[:-1] if following[:1] in ("*", "?", "{") else part  # the last character may be absent
        longest = max(longest, needed, key=len)
    return longest


_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ -")


def is_glob(text: str) -> bool:
    """Whether a pattern has a wildcard."""
    return any(c in text for c in "*?[")


def source_text(text: str) -> str:
    """A string as it is written in source, in double quotes."""
    quoted = repr(text)
    if quoted[0] == '"':
        return quoted
    inner = quoted[1:-1].replace("\\'", "'").replace('"', '\\"')
    return f'"{inner}"'
