"""The settings of palettization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

from attrs import Attribute, field, frozen
from attrs.validators import is_callable, optional

from ir.opset import IOS16, IOS18, Opset
from ir.types import FP32, DType
from mlpasses.config.checks import PYTHON_ONLY, at_least, one_of
from mlpasses.config.weights import BlockConfig
from mlpasses.errors import ConfigError
from mlpasses.numerics.affine import Array

NBITS: Final = (1, 2, 3, 4, 6, 8)
"""The widths of indices that there are."""
DIMS: Final = (1, 2, 4, 8, 16)

LutFunction: TypeAlias = Callable[[Array, Array], Array]
"""The distinct values of a group, ascending, and how many elements have each → at most 2 ** nbits entries, in any order."""


@frozen
class Palettize(BlockConfig):
    """Indices into a look-up table: w ≈ lut[i]."""

    nbits: Literal[1, 2, 3, 4, 6, 8] | None = field(default=None, validator=optional(one_of(*NBITS)))
    """Bits of an index, for 2 ** nbits entries. Null: 4; for `unique`, the fewest that do."""
    mode: Literal["kmeans", "uniform", "unique"] = field(default="kmeans", validator=one_of("kmeans", "uniform", "unique"))
    """How entries are chosen: for the least squared error; equally spaced from the least to the greatest value; or every distinct value is
    one, so that nothing is lost, and a weight that has more of them is left alone."""
    group_size: int | None = field(default=None, validator=optional(at_least(1)))
    """Output channels that share a table. Null: the whole weight does."""
    cluster_dim: Literal[1, 2, 4, 8, 16] = field(default=1, validator=one_of(*DIMS))
    """Output channels that an index stands for: the length of the vectors in the table."""
    per_channel_scale: Literal["none", "folded", "chained"] = field(default="none", validator=one_of("none", "folded", "chained"))
    """Whether each output channel is divided by its greatest magnitude before; and if so, whether the scales are multiplied into a table
    for each channel, or are an op of their own behind the table (smaller, and reported to fail on the Neural Engine)."""
    seed: int = field(default=0, validator=at_least(0), kw_only=True)
    """Of the first guesses for vectors; scalar tables have no use for it."""
    lut_function: LutFunction | None = field(default=None, validator=optional(is_callable()), kw_only=True, metadata=PYTHON_ONLY)
    """A function of a group's distinct values, ascending, and how many elements have each, that answers with the entries, in place of
    `mode`. Only in Python; a process pool needs one that can be pickled."""

    @cluster_dim.validator
    def _vectors_by_kmeans(self, attribute: Attribute[Any], value: Any) -> None:
        if value > 1 and self.mode == "uniform":
            raise ConfigError('cluster_dim of Palettize goes with mode "kmeans" or "unique": vectors cannot be equally spaced')

    @lut_function.validator
    def _only_scalars(self, attribute: Attribute[Any], value: Any) -> None:
        if value is not None and (self.cluster_dim > 1 or self.mode != "kmeans"):
            raise ConfigError("lut_function of Palettize stands in the place of mode, and yields tables of single values: leave mode and "
                              "cluster_dim as they are")  # fmt: skip

    @property
    def widths(self) -> tuple[int, ...]:
        """The widths of indices that may come of it, in order: several where the data decide."""
        if self.nbits is not None:
            return (self.nbits,)
        return NBITS if self.mode == "unique" else (4,)

    @property
    def strictness(self) -> int:
        """The bits that it keeps of an element."""
        return 16 if self.mode == "unique" else max(1, self.widths[-1] // self.cluster_dim)

    def needs(self, weight: DType) -> Opset:
        """The first opset that has the scheme for a weight of a type. Where the data decide about the width, 3 bits are left out before."""
        chained = self.precision == "fp16" and weight is FP32
        divided = self.group_size is not None or self.cluster_dim > 1 or self.per_channel_scale != "none"
        return IOS18 if chained or divided or self.nbits == 3 else IOS16

    @property
    def scheme(self) -> str:
        """The scheme in a few words, for reports."""
        how = "custom" if self.lut_function is not None else self.mode
        width = f"{self.widths[0]}-bit" if len(self.widths) == 1 else "fewest bits"
        vectors = f" vectors of {self.cluster_dim}" if self.cluster_dim > 1 else ""
        groups = "per-tensor" if self.group_size is None else f"groups of {self.group_size}"
        scaled = "" if self.per_channel_scale == "none" else f", scale per-channel {self.per_channel_scale}"
        narrowed = ", fp16 tables" if self.precision == "fp16" else ""
        return f"lut {width} {how}{vectors} {groups}{scaled}{narrowed}"
