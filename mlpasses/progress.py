"""A bar on the terminal for work on weights."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID


class TerminalProgress:
    """Progress on stderr: the pass, the weight, how much of the bytes is done. Gone when the work is.

    A context manager, so that the terminal is as it was however the work ends. rich is imported when the first pass starts.
    """

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def start(self, pass_name: str, total: int) -> None:
        if self._bar is None:
            self._bar = _bar()
            self._bar.start()
        self._task = self._bar.add_task(pass_name, total=total, what="")

    def advance(self, amount: int, what: str) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=amount, what=what)

    def finish(self) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None


def _bar() -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[what]}", markup=False),
        console=Console(file=sys.stderr),
        transient=True,
    )
