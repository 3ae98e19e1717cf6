"""The work of `PalettizeWeights` on one weight: indices, tables, and a scale for each channel where it is asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from attrs import field, frozen

from ir.packing import packed_size
from ir.tensors import Tensor
from ir.types import UINT_BY_BITS, DType
from mlpasses.compress.halves import rounded
from mlpasses.compress.jobs import Declined, EngineName, Finished, Outcome, Part, Writer
from mlpasses.config.palettize import Palettize


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
