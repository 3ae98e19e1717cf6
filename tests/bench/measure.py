"""Whole processes, measured: time, and the peak private memory of the process and its children."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from attrs import define, field, frozen

ROOT: Final = Path(__file__).resolve().parents[2]
INTERVAL: Final = 0.02
"""Seconds between two looks at a process' memory."""
REST: Final = 30.0
"""Seconds after which a virtual machine has given freed memory back to its host. Linux reports free pages every 2 s, a part of them at a
time: 9 GB are found again in 2.6 to 6 s right away, in 10 s after 5 s of rest, and in 24 s after 20 s or more."""


@frozen
class Run:
    """One run of a process."""

    seconds: float
    """From start to end."""
    cpu: float
    """Seconds of processors, its children's too: what a busy machine changes less."""
    private: int
    """The peak of the sum of `RssAnon` over the process and its children, in bytes."""

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s, {self.cpu:.2f} s CPU, {self.private / 1e6:,.0f} MB private"


@frozen
class Contender:
    """Who does a job: a command, and what has to be gone before it runs."""

    name: str
    command: Sequence[str]
    removes: tuple[Path, ...] = ()
    """What the command writes."""
    warms: bool = True
    """Whether each run that counts follows one that does not. Not worth it for what takes minutes and has nothing to warm up."""


@define
class Measured:
    """The runs of a contender."""

    name: str
    runs: list[Run] = field(factory=list)
    """Those that count."""
    colder: list[Run] = field(factory=list)
    """Those that warmed up, each after a run of another contender, but for the very first; none where nothing is to be warmed up."""

    @property
    def typical(self) -> Run:
        return _typical(self.runs)

    @property
    def after_others(self) -> Run:
        """What is typical right after another contender's run."""
        return _typical(self.colder[1:] or self.runs)


def interleaved(contenders: Sequence[Contender], repeats: int, say: Callable[[str], None] = lambda text: None) -> list[Measured]:
    """Lets contenders take turns, `repeats` times; a turn is a run to warm up, and a run that counts.

    The first one finds compiled kernels and the page cache as others left them and, in a virtual machine, none of the memory that they
    gave back: the host has to find each page anew. How much that is, the runs that warm up show.
    """
    measured = [Measured(contender.name) for contender in contenders]
    for turn in range(1, repeats + 1):
        for contender, found in zip(contenders, measured, strict=True):
            if contender.warms:
                found.colder.append(run(contender))
                say(f"  warm-up {turn}: {contender.name} {found.colder[-1]}")
            found.runs.append(run(contender))
            say(f"  run {turn}: {contender.name} {found.runs[-1]}")
    return measured


def rested(
    contenders: Sequence[Contender], repeats: int, say: Callable[[str], None] = lambda text: None, rest: float = REST
) -> list[Measured]:
    """Lets contenders take turns, `repeats` times, each run after a rest of the machine: what who runs one command finds.

    Compiled kernels and the page cache are warm where an earlier run left them so. Memory is not: the host has to find each page.
    """
    measured = [Measured(contender.name) for contender in contenders]
    for turn in range(1, repeats + 1):
        for contender, found in zip(contenders, measured, strict=True):
            time.sleep(rest)
            found.runs.append(run(contender))
            say(f"  run {turn}, rested: {contender.name} {found.runs[-1]}")
    return measured


def _typical(runs: Sequence[Run]) -> Run:
    """The medians of time, and the highest peak of memory."""
    return Run(median(run.seconds for run in runs), median(run.cpu for run in runs), max(run.private for run in runs))


def run(contender: Contender) -> Run:
    """Runs a command to its end.

    What it writes is removed first, and what others wrote is on the disk before the clock starts.

    Raises:
        RuntimeError: it failed; the text holds what it said.
    """
    for path in contender.removes:
        _remove(path)
    os.sync()
    before = _children_cpu()
    started = time.perf_counter()
    process = subprocess.Popen(contender.command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment())
    peak = 0
    while True:
        peak = max(peak, private_memory(process.pid))
        try:
            output, _ = process.communicate(timeout=INTERVAL)
            break
        except subprocess.TimeoutExpired:
            continue
    seconds = time.perf_counter() - started
    if process.returncode:
        raise RuntimeError(f"{contender.name} failed: {' '.join(contender.command)}\n{output.decode(errors='replace')[-4000:]}")
    return Run(seconds, _children_cpu() - before, peak)


def environment() -> Mapping[str, str]:
    """The environment of the processes: the project is importable from where it stands."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": ""}


def private_memory(pid: int) -> int:
    """The sum of `RssAnon` over a process and its descendants, in bytes; 0 where there is no `/proc`, or the process is gone."""
    return sum(_anonymous(each) for each in _tree(pid))


def python(*arguments: str) -> list[str]:
    """A command of this very interpreter."""
    return [sys.executable, *arguments]


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _tree(pid: int) -> Iterable[int]:
    yield pid
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return
    for child in children:
        yield from _tree(child)


def _anonymous(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon")), 0)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
