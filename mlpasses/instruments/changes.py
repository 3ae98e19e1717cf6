"""What each pass changed, as a diff of the text form; nothing where it changed nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from difflib import unified_diff

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
    """A unified diff. What the two have in common at both ends is no matter for `difflib`, which compares each line with each."""
    shorter = min(len(old), len(new))
    start = next((i for i in range(shorter) if old[i] != new[i]), shorter)
    end = next((i for i in range(shorter - start) if old[-1 - i] != new[-1 - i]), shorter - start)
    first, last = max(0, start - context), max(0, end - context)
    shown = unified_diff(old[first : len(old) - last], new[first : len(new) - last], before, after, n=context, lineterm="")
    return (_moved(line, first) if line.startswith("@@") else line for line in shown)


def _moved(header: str, by: int) -> str:
    """`@@ -4,3 +4,2 @@`, counted from the first line of the text rather than of the part that was compared."""
    marks = [mark[0] + ",".join([str(int(mark[1:].split(",")[0]) + by), *mark[1:].split(",")[1:]]) for mark in header.split()[1:3]]
    return f"@@ {' '.join(marks)} @@"
