"""What may have been meant by a name or a pattern that matches nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from difflib import get_close_matches
from heapq import nlargest
from itertools import islice, product
from typing import Final

from mlpasses.patterns import REGEX, is_glob

LONGEST: Final = 300
"""Longer texts are not compared: the cost of `difflib` grows with the square of the length."""
POOL: Final = 200
"""How many texts `difflib` compares, chosen by the pairs of letters that they have in common (20,000 names: 15 ms instead of 400)."""

_WORD: Final = re.compile(r"[A-Za-z]{2,}")
_WORD_OR_ESCAPE: Final = re.compile(r"\\.|[A-Za-z]{2,}")
_NO_IDENTIFIER: Final = re.compile(r"[^A-Za-z0-9_]")
_SEPARATOR: Final = re.compile(r"[./:\-]")


def closest(wanted: str, known: Collection[str], count: int = 3, least: float = 0.6) -> list[str]:
    """Those of `known` that look most like `wanted`, the likeliest first."""
    if len(wanted) > LONGEST:
        return []
    pool: Iterable[str] = (text for text in known if len(text) <= LONGEST)
    if len(known) > POOL:
        pairs = {wanted[i : i + 2] for i in range(len(wanted) - 1)}
        pool = nlargest(POOL, pool, key=lambda text: sum(pair in text for pair in pairs))
    return get_close_matches(wanted, list(pool), n=count, cutoff=least)


class Vocabulary:
    """The names of a program, and the words that they are made of."""

    def __init__(self, names: Collection[str]) -> None:
        self.names = names
        self._words: list[str] | None = None

    @property
    def words(self) -> list[str]:
        """Runs of letters, the most frequent first."""
        if self._words is None:
            found = Counter(word for name in self.names if len(name) <= LONGEST for word in _WORD.findall(name))
            self._words = [word for word, _ in found.most_common()]
        return self._words

    def knows(self, word: str) -> bool:
        """Whether a word stands in some name."""
        return any(word in name for name in self.names)

    def respelled(self, text: str, words: re.Pattern[str] = _WORD) -> Iterator[str]:
        """`text` with each word that no name has replaced by a similar one that some have."""
        choices: list[list[str]] = []
        end = 0
        changed = False
        for match in words.finditer(text):
            word = match[0]
            choices += [[text[end : match.start()]]]
            end = match.end()
            if word.startswith("\\") or self.knows(word):
                choices.append([word])
                continue
            similar = self._similar(word)
            changed = changed or bool(similar)
            choices.append(similar or [word])
        if changed:
            yield from islice(("".join(parts) + text[end:] for parts in product(*choices)), 6)

    def _similar(self, word: str) -> list[str]:
        by_lower = {known.lower(): known for known in reversed(self.words)}
        return [by_lower[each] for each in closest(word.lower(), by_lower)]


def variants(pattern: str, vocabulary: Vocabulary) -> Iterator[str]:
    """Patterns, or exact names, that may have been meant, the likeliest first. Not all of them match something.

    Dots of a framework's module path where MIL's names have underscores, a part of a name, a misspelt word, a glob that was meant as a
    regular expression and one that was meant to match anywhere.
    """
    if len(pattern) > LONGEST:
        return
    ways = _of_regex if pattern.startswith(REGEX) else _of_glob if is_glob(pattern) else _of_name
    seen = {pattern}
    for each in ways(pattern, vocabulary):
        if each not in seen:
            seen.add(each)
            yield each


def _of_name(text: str, vocabulary: Vocabulary) -> Iterator[str]:
    identifier = _NO_IDENTIFIER.sub("_", text)
    if identifier in vocabulary.names:
        yield identifier
        return
    yield from (f"*{part}*" for part in (text, identifier))
    yield from (name for name in vocabulary.names if name.lower() == identifier.lower())
    yield from closest(identifier, vocabulary.names)
    yield from vocabulary.respelled(identifier)
    yield from (f"*{part}*" for part in vocabulary.respelled(identifier))


def _of_glob(text: str, vocabulary: Vocabulary) -> Iterator[str]:
    forms = (text, _SEPARATOR.sub("_", text))
    yield from forms
    yield f"{REGEX}{text}"
    yield from (f"*{form.strip('*')}*" for form in forms)
    for form in forms:
        yield from vocabulary.respelled(form)
    for form in forms:
        yield from (f"*{part.strip('*')}*" for part in vocabulary.respelled(form))


def _of_regex(text: str, vocabulary: Vocabulary) -> Iterator[str]:
    body = text.removeprefix(REGEX)
    forms = (body, body.replace(r"\.", "_"))
    spelled = [part for form in forms for part in vocabulary.respelled(form, _WORD_OR_ESCAPE)]
    for part in (*forms, *spelled):
        yield f"{REGEX}{part}"
    for part in (*spelled, *forms):
        yield f"{REGEX}{_anywhere(part)}"
    yield body


def _anywhere(body: str) -> str:
    inner = f"(?:{body})" if "|" in body else body
    start = "" if body.startswith((".*", "^")) else ".*"
    end = "" if body.endswith((".*", "$")) else ".*"
    return f"{start}{inner}{end}"
