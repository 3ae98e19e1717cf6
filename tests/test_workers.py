"""Tasks on threads: order, failures, interrupts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import pytest

from mlpasses.workers import run_tasks, submit_tasks
from tests.effort import grows_linearly

workers = pytest.mark.parametrize("workers", [1, 2, 5])


def identity(task: int) -> int:
    return task


@workers
def test_outcomes_come_in_the_order_of_the_tasks(workers: int) -> None:
    def work(task: int) -> int:
        time.sleep(0.001 * (task % 3))
        return task * task

    assert run_tasks(work, list(range(20)), size=identity, workers=workers) == [n * n for n in range(20)]


def test_the_largest_tasks_start_first() -> None:
    started: list[int] = []
    lock = threading.Lock()

    def work(task: int) -> None:
        with lock:
            started.append(task)
        time.sleep(0.005)

    run_tasks(work, [3, 9, 1, 7, 5], size=identity, workers=2)
    assert set(started[:2]) == {9, 7}
    assert started[-1] == 1


@workers
def test_no_tasks_have_no_outcomes(workers: int) -> None:
    assert run_tasks(identity, [], size=identity, workers=workers) == []


@workers
def test_progress_is_told_once_a_task_and_on_the_calling_thread(workers: int) -> None:
    told: list[int] = []
    threads: set[int] = set()

    def done(task: int) -> None:
        told.append(task)
        threads.add(threading.get_ident())

    run_tasks(identity, list(range(10)), size=identity, workers=workers, done=done)
    assert sorted(told) == list(range(10))
    assert threads == {threading.get_ident()}


@workers
def test_an_error_stops_what_has_not_begun(workers: int) -> None:
    begun: list[int] = []

    def work(task: int) -> None:
        begun.append(task)
        if task == 99:
            raise ValueError("task 99")
        time.sleep(0.002)

    with pytest.raises(ValueError, match="task 99"):
        run_tasks(work, [99, *range(50)], size=identity, workers=workers)
    assert len(begun) < 30


@workers
def test_an_interrupt_stops_what_has_not_begun_and_waits_for_what_has(workers: int) -> None:
    begun: list[int] = []
    ended: list[int] = []

    def work(task: int) -> None:
        begun.append(task)
        time.sleep(0.002)
        ended.append(task)

    def done(task: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_tasks(work, list(range(50)), size=identity, workers=workers, done=done)
    assert len(begun) < 30
    assert sorted(begun) == sorted(ended)


class Closing(ThreadPoolExecutor):
    """An executor that takes two tasks and no more, as one that is shut down meanwhile."""

    taken = 0

    def submit(self, work: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        if self.taken == 2:
            raise RuntimeError("cannot schedule new futures after shutdown")
        self.taken += 1
        return super().submit(work, *arguments, **named)


def test_what_an_executor_has_taken_has_ended_where_it_takes_no_more() -> None:
    ended: list[int] = []

    def work(task: int) -> None:
        time.sleep(0.05)
        ended.append(task)

    with Closing(2) as pool:
        with pytest.raises(RuntimeError, match="after shutdown"):
            submit_tasks(work, [1, 2, 3], pool, size=identity)
        assert sorted(ended) == [2, 3]


class OneByOne(Executor):
    """An executor that does the first task at once, and another one whenever it is told to."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def submit(self, work: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append(lambda: future.set_result(work(*arguments, **named)))
        if len(self.waiting) == 1:
            self.waiting[0]()
        return future

    def proceed(self) -> None:
        if len(self.waiting) > 1:
            self.waiting.pop()()


def test_to_wait_for_tasks_takes_as_long_as_there_are_tasks() -> None:
    def prepare(count: int) -> Callable[[], object]:
        executor = OneByOne()
        return lambda: submit_tasks(identity, range(count), executor, size=identity, done=lambda task: executor.proceed())

    assert grows_linearly(prepare, 100)
