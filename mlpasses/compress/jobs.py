"""The work of a pass on one weight, as data: what may go to another thread, process or machine, and what comes back.

A job names a tensor (a slice of a file, where it is one) and settings, so it pickles small. It writes its results to a store, part by part,
and answers with their types and shapes, so what comes back pickles small as well.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

from attrs import frozen

from ir.tensors import Tensor
from mlpasses.allocator import keep_freed_memory
from mlpasses.compress.engines import Engines
from mlpasses.compress.writer import Part, Writer
from mlpasses.context import Context
from mlpasses.errors import ConfigError
from mlpasses.numerics.affine import Loss, NotFiniteError
from mlpasses.scratch import Store
from mlpasses.workers import run_tasks, submit_tasks

COMPILED_FROM: Final = 0.7
"""Seconds of work in NumPy from which compiled kernels are worth their start-up: they take 0.22 s to import and 0.35 to load when they are
first called, and then some fifth of the time."""

ALONE_UP_TO: Final = 1 << 20
"""Bytes of a weight, on average, up to which NumPy works on one at a time: its operations are short, so that threads wait for one another's
interpreter lock. 111 small weights take 0.28 s to palettize on one thread, 0.37 s on two."""


@frozen(eq=False)
class Finished:
    """What came of a weight: the tensors that are in the store, what they lost, and what else there is to say."""

    parts: Mapping[str, Part]
    loss: Loss
    lut_used: float | None = None
    """The share of the entries of its tables that are used."""
    remark: str = ""
    """What has to be said of it in the report."""


@frozen
class Declined:
    """Why a job leaves its weight as it is."""

    reason: str
    nonfinite: bool = False
    """Whether it is for NaN or infinite values, which a config may want to be an error."""


OVERFLOWING: Final = Declined("its largest numbers would be decoded as infinite: they are at the end of what their type holds")
"""Where codes that are rounded once more take a value beyond the range of its float type."""

Outcome: TypeAlias = Finished | Declined


class Job(Protocol):
    """The work on one weight. Picklable; `run` is called once."""

    @property
    def name(self) -> str:
        """What the weight is called, for progress."""
        ...

    @property
    def nbytes(self) -> int:
        """The bytes of the weight: for progress, and so that the largest come first."""
        ...

    @property
    def effort(self) -> float:
        """Seconds that it may take in NumPy, roughly: what decides whether compiled kernels are loaded."""
        ...

    def sizes(self) -> Mapping[str, int]:
        """The bytes that each part of the result takes at most."""
        ...

    def run(self, engines: Engines, out: Writer) -> Outcome:
        """Does the work. NaN or infinite values may be raised as `NotFiniteError`."""
        ...


@frozen(eq=False)
class _Task:
    """A job with its places in the store, and no others: what is sent to a worker does not grow with the number of weights."""

    job: Job
    engines: Engines
    out: Writer

    def size(self) -> int:
        return self.job.nbytes

    def __reduce__(self) -> tuple[Any, ...]:
        try:
            data = pickle.dumps((self.job, self.engines, self.out))
        except Exception as error:  # of whatever type who pickles something of the user's raises
            raise ConfigError(f"the executor's workers cannot be sent the work on the weight {self.name}: {error}") from error
        return _SentTask, (self.name, data)

    @property
    def name(self) -> str:
        return self.job.name

    def run(self) -> Outcome:
        return self.job.run(self.engines, self.out)


@frozen(eq=False)
class _SentTask:
    """A task as a worker gets it. Its files are opened as a part of the work: where one is missing, the worker answers with that error,
    and does not break down while it reads its mail."""

    name: str
    data: bytes

    def run(self) -> Outcome:
        job, engines, out = pickle.loads(self.data)
        outcome: Outcome = job.run(engines, out)
        return outcome


@frozen(eq=False)
class Done:
    """A finished job's tensors by part, and what it answered."""

    tensors: Mapping[str, Tensor]
    finished: Finished


def run_jobs(title: str, jobs: Sequence[Job], cx: Context) -> list[Done | Declined]:
    """The outcome of each job, in their order. Many at a time, with results that do not depend on how many.

    Raises:
        ConfigError: the scratch folder has too little space, or the executor cannot be sent a job.
    """
    engines = Engines("numba" if sum(job.effort for job in jobs) >= COMPILED_FROM else "numpy")
    wanted = [job.sizes() for job in jobs]
    sizes = [size for parts in wanted for size in parts.values()]
    store = Store(sizes, cx.scratch, lasting=cx.lasting) if cx.executor is None else Store.shared(sizes, cx.scratch)
    tasks = []
    first = 0
    for job, parts in zip(jobs, wanted, strict=True):
        places = {part: index for index, part in enumerate(parts)}
        tasks.append(_Task(job, engines, Writer(store.portion(range(first, first + len(parts))), places)))
        first += len(parts)
    total = sum(map(_Task.size, tasks))
    workers = 1 if engines.name == "numpy" and total <= ALONE_UP_TO * len(tasks) else cx.workers
    cx.progress.start(title, total)

    def done(task: _Task) -> None:
        cx.progress.advance(task.size(), task.name)

    try:
        if cx.executor is None:
            outcomes = run_tasks(_run, tasks, size=_Task.size, workers=workers, done=done)
        else:
            outcomes = submit_tasks(_run, tasks, cx.executor, size=_Task.size, done=done)
    except BaseException:
        store.discard()
        raise
    cx.progress.finish()
    return [_done(task, outcome) for task, outcome in zip(tasks, outcomes, strict=True)]


def _run(task: _Task | _SentTask) -> Outcome:
    keep_freed_memory()
    try:
        return task.run()
    except NotFiniteError as error:
        return Declined(str(error), nonfinite=True)
    except Exception as error:
        error.add_note(f"at the weight {task.name}")
        raise


def _done(task: _Task, outcome: Outcome) -> Done | Declined:
    if isinstance(outcome, Declined):
        return outcome
    return Done(task.out.tensors(outcome.parts), outcome)
