"""Who hears how far a run is: a bar on the terminal, or a function of the program that mlpasses is part of."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID


class ProgressCallback:
    """Calls `function(pass_name, done, total, what)`, in the thread that runs the pipeline: bytes of weights done, of so many; `what` is
    the weight that was finished last.

        mp.run(program, pipeline, progress=mp.ProgressCallback(lambda name, done, total, what: window.show(name, done / total)))

    It is called when a pass begins to work on weights, with 0 and no weight, and after each weight. What it raises cancels the run: what is
    being computed is waited for, nothing else is started, and nothing is left behind. KeyboardInterrupt and MLPassesError arrive as they
    are, as does any other exception that is no `Exception`; one that is arrives as the cause of a PassError.
    """

    def __init__(self, function: Callable[[str, int, int, str], object]) -> None:
        self._function = function
        self._pass_name = ""
        self._done = 0
        self._total = 0

    def start(self, pass_name: str, total: int) -> None:
        self._pass_name, self._done, self._total = pass_name, 0, total
        self._function(pass_name, 0, total, "")

    def advance(self, amount: int, what: str) -> None:
        self._done += amount
        self._function(self._pass_name, self._done, self._total, what)

    def finish(self) -> None:
        """The last weight has told."""


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
