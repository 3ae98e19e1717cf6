"""Work in parallel over weights, with results that do not depend on how parallel it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")


def run_tasks(
    work: Callable[[Task], Outcome],
    tasks: Sequence[Task],
    *,
    size: Callable[[Task], int],
    workers: int,
    done: Callable[[Task], None] = lambda task: None,
) -> list[Outcome]:
    """The outcome of `work` for each task, in the order of the tasks.

    Runs on threads of its own, so `work` has to let go of the interpreter's lock to gain from it (compiled kernels, NumPy, reads and writes
    do). The largest tasks, by `size`, start first, so that none of them is left for the end. `done` is called on this thread as tasks
    finish.

    Where a task fails, or an interrupt (Ctrl-C) arrives, the tasks that run are waited for, the others are not started, and the error is
    raised.
    """
    if workers <= 1 or len(tasks) <= 1:
        return [_finished(work, task, done) for task in tasks]
    from concurrent.futures import ThreadPoolExecutor  # a single task does without the 12 ms that it takes to import

    order = _largest_first(tasks, size)
    with ThreadPoolExecutor(min(workers, len(tasks)), thread_name_prefix="mlpasses") as pool:
        try:
            futures = {pool.submit(work, tasks[index]): index for index in order}
            _wait(futures, tasks, done)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return [future.result() for future in sorted(futures, key=futures.__getitem__)]


def submit_tasks(
    work: Callable[[Task], Outcome],
    tasks: Sequence[Task],
    executor: Executor,
    *,
    size: Callable[[Task], int],
    done: Callable[[Task], None] = lambda task: None,
) -> list[Outcome]:
    """As `run_tasks`, on an executor that somebody else made and will shut down: of threads, processes, or machines.

    For other processes, `work`, tasks and outcomes have to pickle.
    """
    from concurrent.futures import wait

    futures: dict[Future[Outcome], int] = {}
    try:
        for index in _largest_first(tasks, size):
            futures[executor.submit(work, tasks[index])] = index
        _wait(futures, tasks, done)
    finally:
        for future in futures:
            future.cancel()
        wait(futures)
    return [future.result() for future in sorted(futures, key=futures.__getitem__)]


def _largest_first(tasks: Sequence[Task], size: Callable[[Task], int]) -> list[int]:
    return sorted(range(len(tasks)), key=lambda index: -size(tasks[index]))


def _finished(work: Callable[[Task], Outcome], task: Task, done: Callable[[Task], None]) -> Outcome:
    outcome = work(task)
    done(task)
    return outcome


def _wait(futures: dict[Future[Outcome], int], tasks: Sequence[Task], done: Callable[[Task], None]) -> None:
    from concurrent.futures import as_completed

    for future in as_completed(futures):
        future.result()
        done(tasks[futures[future]])
