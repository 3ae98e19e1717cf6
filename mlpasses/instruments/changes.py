"""What each pass changed, as a diff of the text form; nothing where it changed nothing."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from difflib import Match, SequenceMatcher
from typing import Final

from ir.core import Program
from mlpasses.context import Context
from mlpasses.instruments import Instrument
from mlpasses.passes import Pass


class PrintChanges(Instrument):
    """Hands a diff to `write` after each pass that changed something.

        --- before dead-code
        +++ after dead-code
        @@ -4,3 +4,2 @@
           %a: fp16[4] = relu(x=%x)
        -  %unused: fp16[4] = relu(x=%a)
           return %a
    """

    def __init__(self, write: Callable[[str], object] = print) -> None:
        self._write = write
        self._text: list[str] | None = None
        self._version = -1

    def before(self, each: Pass, program: Program, context: Context) -> None:
        if self._text is None or program.version != self._version:
            self._text, self._version = str(program).splitlines(), program.version

    def after(self, each: Pass, program: Program, context: Context, changes: int) -> None:
        if program.version == self._version:
            return
        old, self._text, self._version = self._text or [], str(program).splitlines(), program.version
        lines = list(diff_lines(old, self._text, f"before {each.name}", f"after {each.name}"))
        if lines:
            self._write("\n".join(lines))


def diff_lines(old: Sequence[str], new: Sequence[str], before: str, after: str, context: int = 3) -> Iterator[str]:
    """A unified diff; nothing where the two are the same.

    O(n log n) where most lines are unique, as those of a program are: lines that both have once are matched first, and `difflib`, whose
    cost grows with the square, sees what is between them (50,000 lines, every third gone: 0.1 s instead of 65).
    """
    for number, group in enumerate(_Anchored(old, new).get_grouped_opcodes(context)):
        if not number:
            yield from (f"--- {before}", f"+++ {after}")
        (_, i0, _, j0, _), (_, _, i1, _, j1) = group[0], group[-1]
        yield f"@@ -{_span(i0, i1)} +{_span(j0, j1)} @@"
        for tag, i, i_end, j, j_end in group:
            if tag == "equal":
                yield from (f" {line}" for line in old[i:i_end])
            else:
                yield from (f"-{line}" for line in old[i:i_end])
                yield from (f"+{line}" for line in new[j:j_end])


COMPARED: Final = 1 << 20
"""Pairs of lines that are compared between two lines that match; where there are more, all of them count as changed."""


class _Anchored(SequenceMatcher[str]):
    """Matches lines that both texts have exactly once, as many as keep their order, and lets `difflib` match between them."""

    def __init__(self, old: Sequence[str], new: Sequence[str]) -> None:
        super().__init__(None, old, new, autojunk=False)
        self._old = old
        self._new = new

    def get_matching_blocks(self) -> list[Match]:
        found: list[Match] = []
        i = j = 0
        for anchor in (*_anchors(self._old, self._new), (len(self._old), len(self._new))):
            found += self._between(i, anchor[0], j, anchor[1])
            found.append(Match(*anchor, 1 if anchor[0] < len(self._old) else 0))
            i, j = anchor[0] + 1, anchor[1] + 1
        merged = [Match(0, 0, 0)]
        for match in found:
            last = merged[-1]
            if (last.a + last.size, last.b + last.size) == (match.a, match.b):
                merged[-1] = Match(last.a, last.b, last.size + match.size)
            elif match.size:
                merged.append(match)
        return [*(match for match in merged if match.size), Match(len(self._old), len(self._new), 0)]

    def _between(self, i: int, i_end: int, j: int, j_end: int) -> list[Match]:
        if not 0 < (i_end - i) * (j_end - j) <= COMPARED:
            return []
        inner = SequenceMatcher(None, self._old[i:i_end], self._new[j:j_end], autojunk=False)
        return [Match(match.a + i, match.b + j, match.size) for match in inner.get_matching_blocks() if match.size]


def _anchors(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    """The positions of lines that both have once: the longest chain that runs forward in both (patience, O(n log n))."""
    counts, others = Counter(old), Counter(new)
    where = {line: j for j, line in enumerate(new) if others[line] == 1}
    pairs = [(i, where[line]) for i, line in enumerate(old) if counts[line] == 1 and line in where]
    ends: list[int] = []  # the smallest last position of a chain of each length,
    owners: list[int] = []  # the pair that it belongs to,
    links: list[int] = []  # and of each pair the one before it
    for number, (_, j) in enumerate(pairs):
        length = bisect_left(ends, j)
        links.append(owners[length - 1] if length else -1)
        ends[length : length + 1] = [j]
        owners[length : length + 1] = [number]
    chain: list[tuple[int, int]] = []
    number = owners[-1] if owners else -1
    while number >= 0:
        chain.append(pairs[number])
        number = links[number]
    return chain[::-1]


def _span(start: int, end: int) -> str:
    """A range of lines as unified diffs write it: from 1, the line before where there are none."""
    count = end - start
    return str(start + 1) if count == 1 else f"{start + 1 if count else start},{count}"
