"""How a weight is divided: how many blocks each axis has, by settings that speak of channels and sizes."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from mlpasses.config.weights import Indivisible
from mlpasses.errors import ConfigError


@frozen
class Division:
    """The number of blocks on each axis, all elements of one of which share a scale or a table."""

    counts: tuple[int, ...]
    remark: str = ""
    """What is different from what was asked for."""


def whole(rank: int) -> Division:
    """One block."""
    return Division((1,) * rank)


def divided(division: Division, shape: Sequence[int], axis: int, size: int, policy: Indivisible, what: str) -> Division | str:
    """The division with blocks of `size` on one more axis; why there is none, where the size does not divide the axis and the policy says
    so. `what` is the name of the setting.

    Raises:
        ConfigError: the policy is to refuse.
    """
    dim = shape[axis]
    remark = division.remark
    if not size:
        return division
    if dim % size:
        found = f"the {dim} elements of its axis {axis} are not divided by {what}={size}"
        if policy == "error":
            raise ConfigError(f'{found}: choose another, or leave it alone with indivisible="skip"')
        if policy == "skip":
            return f"{found} (the largest divisor below is {largest_divisor(dim, size)}, which indivisible=\"shrink\" takes)"
        size = largest_divisor(dim, size)
        remark = f"{what} is {size}, the largest divisor of the {dim} elements of axis {axis}"
    counts = tuple(dim // size if at == axis else count for at, count in enumerate(division.counts))
    return Division(counts, remark)


def largest_divisor(dim: int, size: int) -> int:
    """The largest divisor of `dim` that is at most `size`."""
    return next(each for each in range(min(size, dim), 0, -1) if dim % each == 0)
