"""The collector's pause: nothing runs inside, and what is let go of afterwards does not pile up."""

from __future__ import annotations

import gc
import weakref

import pytest

from ir import collector
from ir.collector import collector_paused


class Node:
    """Something that keeps itself alive."""

    def __init__(self) -> None:
        self.me = self


def test_collector_is_off_inside_and_on_again_outside() -> None:
    with collector_paused():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_garbage_does_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "UNSEEN", 1000)
    monkeypatch.setattr(collector, "count_old", lambda: 0)
    gc.collect()
    alive: list[weakref.ref[Node]] = []
    for _ in range(40):
        with collector_paused():
            alive += [weakref.ref(node) for node in [Node() for _ in range(200)]]
    assert sum(ref() is not None for ref in alive) < 4000


def test_a_collection_waits_until_as_much_has_aged_as_lived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "UNSEEN", 1000)
    monkeypatch.setattr(collector, "count_old", lambda: 1_000_000)
    gc.collect()
    before = gc.get_stats()[2]["collections"]
    for _ in range(40):
        with collector_paused():
            [Node() for _ in range(200)]
    assert gc.get_stats()[2]["collections"] == before


def test_it_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "UNSEEN", 1000)
    monkeypatch.setattr(collector, "count_old", lambda: 4000)
    gc.collect()  # from here on it counts anew
    alive: list[weakref.ref[Node]] = []
    for _ in range(100):
        with collector_paused():
            alive += [weakref.ref(node) for node in [Node() for _ in range(200)]]
    assert sum(ref() is not None for ref in alive) < 8000
