"""Order labels: which of two ops of a block comes first is a comparison of two numbers, whatever is inserted between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ir.core import Op

STRIDE: Final = 1 << 40
"""Distance between the order labels of neighbouring ops, so that most insertions find a free label between two."""
NUDGE: Final = 1 << 20
"""How far from its predecessor an inserted op is put where there is room: a run of insertions at one point uses up labels slowly."""


def label_between(op: Op, previous: Op | None, following: Op) -> None:
    """Gives an op that was linked between two a label between theirs; where there is none, its neighbours get others."""
    low = previous._order if previous is not None else following._order - 2 * STRIDE
    gap = following._order - low
    if gap > 1:
        op._order = low + min(NUDGE, gap // 2) if previous is not None else low + gap // 2
    else:
        _relabel_around(op)


def _relabel_around(op: Op) -> None:
    """Spreads labels over the smallest surrounding run that is sparse enough: O(log² n) amortised an insertion.

    Two Simplified Algorithms for Maintaining Order in a List, Bender et al., ESA 2002 (tag-range relabelling).
    """
    left, right, size = op, op, 1
    while True:
        for _ in range(size):
            if left._prev is not None:
                left, size = left._prev, size + 1
            if right._next is not None:
                right, size = right._next, size + 1
        below = left._prev._order if left._prev is not None else None
        above = right._next._order if right._next is not None else None
        if below is None and above is None:
            low, step = 0, STRIDE
            break
        low = below if below is not None else (above or 0) - (size + 1) * STRIDE
        high = above if above is not None else low + (size + 1) * STRIDE
        step = (high - low) // (size + 1)
        if step >= size:
            break
    at: Op | None = left
    for position in range(1, size + 1):
        assert at is not None
        at._order = low + position * step
        at = at._next
