"""The settings of pruning: which elements become zero."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from attrs import Attribute, field, frozen
from attrs.validators import optional

from ir.opset import IOS16, Opset
from ir.types import DType
from mlpasses.config.checks import at_least, not_negative, one_of, share
from mlpasses.config.weights import WeightConfig
from mlpasses.errors import ConfigError


@frozen
class PruneConfig(WeightConfig):
    """What the ways to prune have in common."""

    strictness: ClassVar[int] = 16
    """The bits that it keeps of an element that it keeps."""

    def needs(self, weight: DType) -> Opset:
        """The first opset that has sparse weights."""
        return IOS16


@frozen
class Magnitude(PruneConfig):
    """The smallest magnitudes become zero, as many as make ⌊sparsity · n⌋ zeros; of equal ones the first. With blocks, the blocks of the
    smallest norm."""

    sparsity: float = field(default=0.5, validator=share)
    """The share of zeros, those counted that there are."""
    block_size: int | None = field(default=None, validator=optional(at_least(2)))
    """Channels in a row that become zero together. Null: each element by itself."""
    dim: Literal["output", "input"] = field(default="output", validator=one_of("output", "input"))
    """The channels that blocks run along."""

    @property
    def scheme(self) -> str:
        """The scheme in a few words, for reports."""
        blocks = "" if self.block_size is None else f", blocks of {self.block_size} {self.dim} channels"
        return f"sparse {100 * self.sparsity:g}%{blocks}"


@frozen
class Threshold(PruneConfig):
    """Magnitudes up to a threshold become zero; 0 encodes the zeros that there are, without loss."""

    threshold: float = field(default=0.0, validator=not_negative)
    """The greatest magnitude that becomes zero."""
    minimum_sparsity: float = field(default=0.0, validator=share)
    """A weight in which fewer become zero is left alone."""

    @property
    def scheme(self) -> str:
        """The scheme in a few words, for reports."""
        return f"sparse, |w| ≤ {self.threshold:g}" if self.threshold else "sparse, zeros as they are"


@frozen
class NM(PruneConfig):
    """Of each m elements in a row along an axis the n smallest magnitudes become zero (n:m sparsity)."""

    n: int = field(default=2, validator=at_least(1))
    """How many of each m become zero."""
    m: int = field(default=4, validator=at_least(2))
    """How many are looked at together."""
    dim: Literal["output", "input"] = field(default="input", validator=one_of("output", "input"))
    """The channels that they are in a row along."""

    @m.validator
    def _more_than_n(self, attribute: Attribute[Any], value: Any) -> None:
        if value <= self.n:
            raise ConfigError(f"m of NM has to be more than n, and n is {self.n} and m {value}: n of each m channels become zero")

    @property
    def scheme(self) -> str:
        """The scheme in a few words, for reports."""
        return f"sparse {self.n}:{self.m} along {self.dim} channels"
