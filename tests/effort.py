"""How much work a call is, counted rather than timed: calls of Python and C functions. The same on every machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType


def calls(work: Callable[[], object]) -> int:
    """The number of function calls that `work` makes."""
    count = 0

    def tick(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(tick)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def grows_linearly(prepare: Callable[[int], Callable[[], object]], size: int = 500) -> bool:
    """Whether ten times the size takes at most eleven times the calls. `prepare` makes the work of a size, uncounted."""
    return calls(prepare(10 * size)) <= 11 * calls(prepare(size))
