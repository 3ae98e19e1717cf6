"""Text → tokens, and the cursor that the parser moves over them."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice
from typing import Final, NoReturn

from ir.diagnostics import ParseError
from ir.text.words import KEYWORDS, unquote

END: Final = ""
"""The token behind the last one."""
MAX_DIGITS: Final = 40
"""Digits of an integer; a 64-bit number has 20 at most."""

_TOKEN: Final = re.compile(
    r"""
    (?>\s+|//[^\n]*)*+                                            # blanks and comments
    (
        %[\^?]*+ (?: [A-Za-z0-9_@]++ | "(?:[^"\\\n]++|\\[^\n])*+"? )?     # a value
      | [A-Za-z_][A-Za-z0-9_]*+ \[ [0-9?*,\s-]*+ \]               # a tensor type with its dimensions
      | (?: nan (?: :0x[0-9A-Fa-f]++ )? | -? inf ) (?![A-Za-z0-9_])
      | [A-Za-z_][A-Za-z0-9_]*+
      | "(?:[^"\\\n]++|\\[^\n])*+"?                               # a string, perhaps one without an end
      | -? [0-9]++ (?: \.[0-9]*+ )? (?: [eE][+-]?[0-9]++ )?
      | @ (?: [A-Za-z0-9_@.]++ | "(?:[^"\\\n]++|\\[^\n])*+"? )?   # a resource
      | .
      | \Z
    )
    """,
    re.VERBOSE | re.DOTALL,
)
"""Possessive throughout, so that no text makes it go back: lexing is linear."""
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_INTEGER: Final = re.compile(r"-?[0-9]+")
_NUMBER: Final = re.compile(r"-?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|inf)|nan(?::0x[0-9A-Fa-f]+)?")


@lru_cache(maxsize=4096)
def word_of(token: str) -> str | None:
    """The name that a token means where an op type, parameter, attribute, function or opset is due; None where it means none."""
    if token[:1] == '"':
        return unquote(token)
    return token if _WORD.fullmatch(token) and token not in KEYWORDS else None


def is_integer(token: str) -> bool:
    """Whether a token is an integer, of at most `MAX_DIGITS` digits."""
    return len(token) <= MAX_DIGITS and _INTEGER.fullmatch(token) is not None


def is_number(token: str) -> bool:
    """Whether a token is a number, `inf` and `nan` included."""
    return _NUMBER.fullmatch(token) is not None


class Cursor:
    """A position in a text's tokens. Where a token stands in the text is found out when an error needs it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.tokens: list[str] = _TOKEN.findall(text)
        self.tokens += (END, END)  # so that a look at the next token needs no question
        self.at = 0

    def fail(self, message: str, at: int | None = None) -> NoReturn:
        """Raises a `ParseError` at token number `at`, or at the current one."""
        index = self.at if at is None else at
        match = next(islice(_TOKEN.finditer(self._text), index, None), None)
        offset = match.start(1) if match is not None else len(self._text)
        raise ParseError(message, self._text.count("\n", 0, offset) + 1, offset - self._text.rfind("\n", 0, offset))

    def fail_expected(self, expected: str) -> NoReturn:
        """Raises a `ParseError` for the current token, which is not what was due."""
        token = self.tokens[self.at]
        if token[:1] == '"' and unquote(token) is None:
            self.fail("the string does not end on its line, or has an escape other than \\\\ \\\" \\n \\t \\r \\uXXXX \\UXXXXXXXX")
        found = "the text ends" if token == END else f"there is {token if len(token) <= 60 else f'{token[:60]}…'}"
        self.fail(f"expected {expected}, but {found}")

    def expect(self, token: str, after: str) -> None:
        """Moves over a token that has to be there."""
        if self.tokens[self.at] != token:
            self.fail_expected(f"{token} {after}")
        self.at += 1

    def more(self, closing: str, after: str) -> bool:
        """Between the elements of a list: whether a comma, not `closing`, comes; moves over either."""
        token = self.tokens[self.at]
        if token != "," and token != closing:
            self.fail_expected(f", or {closing} after {after}")
        self.at += 1
        return token == ","

    def word(self, what: str) -> str:
        """Moves over a name: a plain word, or anything in quotes."""
        token = self.tokens[self.at]
        found = word_of(token)
        if found is None:
            if token in KEYWORDS:
                self.fail(f"{token} has a meaning of its own here: as {what}, write it in quotes")
            self.fail_expected(what)
        self.at += 1
        return found

    def string(self, what: str) -> str:
        """Moves over a string."""
        token = self.tokens[self.at]
        found = unquote(token) if token[:1] == '"' else None
        if found is None:
            self.fail_expected(what)
        self.at += 1
        return found

    def integer(self, what: str) -> int:
        """Moves over an integer."""
        token = self.tokens[self.at]
        if not is_integer(token):
            self.fail_expected(what)
        self.at += 1
        return int(token)
