"""The work of a pass on one weight, as data: what may go to another thread, process or machine, and what comes back.

A job names a tensor (a slice of a file, where it is one) and settings, so it pickles small. It writes its results to a store, part by part,
and answers with their types and shapes, so what comes back pickles small as well.
"""

from __future__ import annotations

import ctypes
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import frozen

from ir import flows
from ir.flows import Flow, Stored
from ir.tensors import Array, Tensor
from ir.types import DType
from mlpasses.compress.bands import ELEMENTS
from mlpasses.context import Context
from mlpasses.errors import ConfigError
from mlpasses.numerics import loss
from mlpasses.numerics.affine import Loss, NotFiniteError
from mlpasses.numerics.loss import Between
from mlpasses.scratch import Store
from mlpasses.workers import run_tasks, submit_tasks

EngineName: TypeAlias = Literal["numpy", "numba"]

COMPILED_FROM: Final = 0.7
"""Seconds of work in NumPy from which compiled kernels are worth their start-up: they take 0.22 s to import and 0.35 to load when they are
first called, and then some fifth of the time."""

ALONE_UP_TO: Final = 1 << 20
"""Bytes of a weight, on average, up to which NumPy works on one at a time: its operations are short, so that threads wait for one another's
interpreter lock. 111 small weights take 0.28 s to palettize on one thread, 0.37 s on two."""


TRIM_THRESHOLD: Final = -1
MMAP_THRESHOLD: Final = -3
"""As malloc.h has them."""
LARGE: Final = 16 << 20
"""Bytes of the largest temporaries; with twice as many free, memory goes back to the system."""


@frozen
class Part:
    """One tensor of a result: its type and shape."""

    dtype: DType
    shape: tuple[int, ...]


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

    def run(self, engine: EngineName, out: Writer) -> Outcome:
        """Does the work. NaN or infinite values may be raised as `NotFiniteError`."""
        ...


@frozen(eq=False)
class Writer:
    """Where a job writes its parts."""

    store: Store
    slots: Mapping[str, int]

    def write(self, part: str, position: int, array: npt.NDArray[Any]) -> None:
        """Writes the bytes of a contiguous array into a part, from a byte on."""
        if array.size:
            self.store.write(self.slots[part], position, array.reshape(-1).view(np.uint8).data)

    def emit(self, part: str, itemsize: int = 1) -> Callable[[int, npt.NDArray[Any]], None]:
        """`write` for a part, with positions that count elements of `itemsize` bytes."""
        return lambda position, array: self.write(part, position * itemsize, array)

    def whole(self, part: str, dtype: DType, array: npt.NDArray[Any]) -> Part:
        """Writes all of a part, whose type takes whole bytes."""
        self.write(part, 0, np.ascontiguousarray(array, dtype.numpy))
        return Part(dtype, array.shape)

    def stream(self, part: str, pieces: Iterable[memoryview]) -> None:
        """Writes all of a part, whose bytes come in pieces."""
        position = 0
        for piece in pieces:
            self.store.write(self.slots[part], position, piece)
            position += len(piece)

    def array(self, flow: Flow) -> Array:
        """All elements of a flow, in its shape: as they lie where they lie somewhere, and otherwise laid out, the many in a scratch file.

        Raises:
            ConfigError: the scratch folder has too little space.
        """
        if flow.size <= ELEMENTS or (isinstance(flow, Stored) and flow.bits is None):
            return flows.gathered(flow)
        file, position = self.store.room(flow.size * flow.dtype.itemsize), 0
        for part in flows.parts(flow):
            file.write_at(position, part.view(np.uint8).data)
            position += part.nbytes
        return np.frombuffer(file.view, flow.dtype).reshape(flow.shape)

    def tensors(self, parts: Mapping[str, Part]) -> dict[str, Tensor]:
        """What has been written, as tensors of these types and shapes."""
        return {name: self.store.tensor(self.slots[name], part.dtype, part.shape) for name, part in parts.items()}


def measure_named(name: EngineName) -> Between:
    """Who measures what a weight lost; compiled where it is asked for."""
    if name == "numpy":
        return loss.between
    from mlpasses.numerics import loss_kernels  # Numba takes longer to import than a small weight to measure

    return loss_kernels.between


@frozen(eq=False)
class _Task:
    """A job with its places in the store, and no others: what is sent to a worker does not grow with the number of weights."""

    job: Job
    engine: EngineName
    out: Writer

    def size(self) -> int:
        return self.job.nbytes

    def __reduce__(self) -> tuple[Any, ...]:
        try:
            data = pickle.dumps((self.job, self.engine, self.out))
        except Exception as error:  # of whatever type who pickles something of the user's raises
            raise ConfigError(f"the executor's workers cannot be sent the work on the weight {self.name}: {error}") from error
        return _SentTask, (self.name, data)

    @property
    def name(self) -> str:
        return self.job.name

    def run(self) -> Outcome:
        return self.job.run(self.engine, self.out)


@frozen(eq=False)
class _SentTask:
    """A task as a worker gets it. Its files are opened as a part of the work: where one is missing, the worker answers with that error,
    and does not break down while it reads its mail."""

    name: str
    data: bytes

    def run(self) -> Outcome:
        job, engine, out = pickle.loads(self.data)
        outcome: Outcome = job.run(engine, out)
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
    engine: EngineName = "numba" if sum(job.effort for job in jobs) >= COMPILED_FROM else "numpy"
    wanted = [job.sizes() for job in jobs]
    sizes = [size for parts in wanted for size in parts.values()]
    store = Store(sizes, cx.scratch) if cx.executor is None else Store.shared(sizes, cx.scratch)
    tasks = []
    first = 0
    for job, parts in zip(jobs, wanted, strict=True):
        places = {part: index for index, part in enumerate(parts)}
        tasks.append(_Task(job, engine, Writer(store.portion(range(first, first + len(parts))), places)))
        first += len(parts)
    total = sum(map(_Task.size, tasks))
    workers = 1 if engine == "numpy" and total <= ALONE_UP_TO * len(tasks) else cx.workers
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
    _keep_freed_memory()
    try:
        return task.run()
    except NotFiniteError as error:
        return Declined(str(error), nonfinite=True)
    except Exception as error:
        error.add_note(f"at the weight {task.name}")
        raise


@cache
def _keep_freed_memory() -> None:
    """Has glibc hand out again what was freed, rather than give it back to the system as soon as a block or what is free is beyond 128 KiB.

    By itself it learns that from the largest block that was freed, and work on pieces frees none: the system would clear fresh pages for
    every temporary, in more time than to sort what is in it. Other allocators are left as they are.
    """
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    if tune is not None:
        tune(MMAP_THRESHOLD, LARGE)
        tune(TRIM_THRESHOLD, 2 * LARGE)


def _done(task: _Task, outcome: Outcome) -> Done | Declined:
    if isinstance(outcome, Declined):
        return outcome
    return Done(task.out.tensors(outcome.parts), outcome)
