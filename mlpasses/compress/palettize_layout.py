"""How a weight is divided for its tables."""

from __future__ import annotations

import math

from attrs import frozen

from ir.types import DType
from mlpasses.numerics.affine import View


@frozen
class Layout:
    """How a weight is divided for its tables."""

    axis: int
    """The output channels' axis, along which groups and vectors lie."""
    vector: int
    """Elements that an index stands for."""
    groups: tuple[int, ...]
    """Groups on each axis, for each of which entries are chosen."""
    tables: tuple[int, ...]
    """Tables on each axis: those of the groups, or of the channels where scales are multiplied into them."""
    channels: tuple[int, ...]
    """Channels on each axis: the shape of a scale for each of them."""
    stored: DType
    """The type of the entries."""
    widths: tuple[int, ...]
    """The bits that an index may have, in order; several where the data decide."""

    @property
    def vector_axis(self) -> int | None:
        """The axis that vectors lie along; None where an index stands for one element."""
        return self.axis if self.vector > 1 else None

    def indices(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the indices of a weight."""
        return tuple(dim // self.vector if at == self.axis else dim for at, dim in enumerate(shape))

    def view(self, shape: tuple[int, ...]) -> View:
        """The shape of a weight as `[outer, groups, inner]`, where each entry of the middle axis has a table."""
        groups = math.prod(self.groups)
        if groups == 1:
            return 1, 1, math.prod(shape)
        return math.prod(shape[: self.axis]), groups, math.prod(shape[self.axis :]) // groups
