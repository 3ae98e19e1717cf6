"""The columns of the op tables: what a row says of an op, and the words in which the rows are written.

The classes hold facts and nothing else. `ir.specs` looks rows up; `ir.opsets.ios15` and its successors hold them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from attrs import evolve, field, frozen

from ir.opset import IOS16, Opset
from ir.types import (
    BOOL,
    DTYPES,
    FP16,
    FP32,
    INT4,
    INT8,
    INT16,
    INT32,
    STRING,
    UINT1,
    UINT2,
    UINT3,
    UINT4,
    UINT6,
    UINT8,
    UINT16,
    UINT32,
    DType,
    Type,
)

if TYPE_CHECKING:
    from ir.infer import Args

DTypes: TypeAlias = tuple[DType, ...]

FLOAT: Final = (FP16, FP32)
NUMBER: Final = (FP16, FP32, INT32)
PLAIN: Final = (FP16, FP32, INT32, BOOL)
NARROW: Final = (FP16, FP32, INT8, UINT8, INT16, UINT16, INT32)
"""What ops that only move data accept from iOS17 on."""
NARROW_OR_BOOL: Final = (*NARROW, BOOL)
INT: Final = (INT32,)
TRUTH: Final = (BOOL,)
TEXT: Final = (STRING,)
SHAPE_INT: Final = (INT8, INT16, INT32)
"""Shapes, begins and ends from iOS17 on."""
INDEX_16: Final = (INT32, INT16, UINT16)
INDEX: Final = (INT32, INT16, UINT16, INT8, UINT8)
BYTE: Final = (INT8, UINT8)
LUT_INDEX: Final = (UINT1, UINT2, UINT3, UINT4, UINT6, UINT8)
QUANTIZED: Final = (INT4, UINT4, INT8, UINT8, FP16, FP32)
LUT_ENTRY: Final = (INT8, UINT8, FP16, FP32)
SHAPE_U32: Final = (UINT32,)
ANYTHING: Final = DTYPES


@frozen
class Channels:
    """The output- and the input-channel axis of a weight; negative ones count from the back, None where there is no such axis.

    `swapped_by` names the boolean parameter that exchanges the two (`transpose_y`); `by_equation` says that an einsum's equation
    decides.
    """

    out: int | None
    in_: int | None
    swapped_by: str | None = None
    by_equation: bool = False


@frozen
class PerSpatialDim:
    """A default as long as its op's `x` has spatial dimensions, `times` over: a conv's strides are `PerSpatialDim(1)`."""

    value: int
    times: int = 1

    def at(self, rank: int) -> tuple[int, ...]:
        """The default where `x` has `rank` dimensions, two of which are the batch and the channels."""
        return (self.value,) * (max(rank - 2, 0) * self.times)


Default: TypeAlias = "bool | int | float | str | tuple[int, ...] | PerSpatialDim | None"
ParamKind: TypeAlias = Literal["tensor", "list", "state", "any"]


def _constexpr_by_default(param: Param) -> Opset | None:
    """Where the value need not be known at compile time, any op may produce it, so a constexpr op may as well."""
    return None if param.const or param.kind not in ("tensor", "any") else IOS16


@frozen
class Param:
    """One parameter of an op.

    `dtypes` are the element types that it accepts; parameters that share the letter `domain` have to agree in theirs. `const` says
    that the value has to be known at compile time. `default` is the value that an absent optional parameter stands for; None where
    absence has a meaning of its own (no bias, all axes). A `variadic` parameter holds any number of operands. `weight` is set for
    parameters that hold weights. `constexpr` is the first opset in which the output of a constexpr op may feed it, None if none.
    `only_with` names a truth value beside which alone the parameter may be given: where that is false, so is the default left out.
    """

    name: str
    kind: ParamKind
    dtypes: DTypes
    domain: str | None = None
    optional: bool = False
    default: Default = None
    const: bool = False
    variadic: bool = False
    weight: Channels | None = None
    constexpr: Opset | None = field(kw_only=True)
    only_with: str | None = field(default=None, kw_only=True)

    @constexpr.default
    def _default_constexpr(self) -> Opset | None:
        return _constexpr_by_default(self)


class Effect(Enum):
    """What executing an op does beside yielding its outputs. An op with blocks also does what they do."""

    NONE = "a function of its operands"
    FRESH = "each execution has an outcome of its own"
    READS = "its outcome depends on a state"
    WRITES = "changes a state"


class Meaning(Enum):
    """A change of meaning that came with an opset, beyond new parameters with a default and wider element types."""

    NO_NEGATIVE_INDICES = "negative indices are out of bounds"
    BOXES = "the roi becomes boxes and box_indices, and the output loses a dimension"
    NMS = "boxes, scores and outputs are transposed, and the score threshold and the fourth output are gone"
    ORDERED_BOUNDS = "alpha has to be less than beta"
    ZERO_IN_SHAPE = "a 0 in shape is matched with x from the right, and one beyond the rank of x is a 1"
    UNPACKED_INDICES = "indices are a tensor of nbits wide elements in the weight's shape, and the LUT has an entry per block"
    UNPACKED_MASK = "the mask is a uint1 tensor in the weight's shape"
    INPUTS = "the operands are inputs; they were attributes"


Infer: TypeAlias = "Callable[[Args], tuple[Type, ...]]"


@frozen
class OpSpec:
    """What is known of an op from the opset `since` on.

    `outputs` is the number of results, None where it depends on the operands. `blocks` is the number of nested blocks. `attributes`
    names the parameters that a file holds as attributes of the op rather than as its inputs. `infer` yields the result types, None
    where they cannot be told from the operands. `meaning` is what changed with this row, `first` the opset that introduced the op.
    """

    op_type: str
    params: tuple[Param, ...]
    outputs: int | None
    since: Opset
    effect: Effect = Effect.NONE
    blocks: int = 0
    infer: Infer | None = None
    attributes: frozenset[str] = frozenset()
    meaning: Meaning | None = None
    _by_name: Mapping[str, Param] = field(init=False, repr=False, eq=False)

    @_by_name.default
    def _index(self) -> Mapping[str, Param]:
        return {p.name: p for p in self.params}

    @property
    def pure(self) -> bool:
        """Whether an unused op of this type may be erased (one with blocks: if all ops in them may)."""
        return self.effect is not Effect.WRITES

    @property
    def deterministic(self) -> bool:
        """Whether equal operands give equal results, so that equal ops may be merged and constant ones computed."""
        return self.effect is Effect.NONE

    def param(self, name: str) -> Param | None:
        """The parameter called `name`; None if the op has none."""
        return self._by_name.get(name)

    def revised(
        self, since: Opset, *params: Param, infer: Infer | None = None, meaning: Meaning | None = None
    ) -> OpSpec:
        """The row of a later opset: each of `params` replaces the one of its name, or is new and comes last."""
        changed = {p.name: p for p in params}
        kept = tuple(changed.pop(p.name, p) for p in self.params)
        return evolve(
            self, since=since, params=(*kept, *changed.values()), infer=infer or self.infer, meaning=meaning
        )


def tensor(
    name: str,
    dtypes: DTypes,
    domain: str | None = None,
    *,
    optional: bool = False,
    default: Default = None,
    weight: Channels | None = None,
) -> Param:
    """A parameter whose value may come at run time."""
    return Param(name, "tensor", dtypes, domain, optional, default, weight=weight)


def tensors(name: str, dtypes: DTypes, domain: str | None = None, *, weight: Channels | None = None) -> Param:
    """A parameter of any number of operands."""
    return Param(name, "tensor", dtypes, domain, variadic=True, weight=weight)


def setting(name: str, dtypes: DTypes, domain: str | None = None) -> Param:
    """A required parameter that is known at compile time and cannot be compressed."""
    return Param(name, "tensor", dtypes, domain, const=True)


def option(name: str, dtypes: DTypes, default: Default = None, domain: str | None = None) -> Param:
    """An optional parameter that is known at compile time and cannot be compressed."""
    return Param(name, "tensor", dtypes, domain, True, default, const=True)


def constant(
    name: str,
    dtypes: DTypes,
    domain: str | None = None,
    *,
    optional: bool = False,
    weight: Channels | None = None,
    constexpr: Opset = IOS16,
) -> Param:
    """A parameter that is known at compile time and may be the output of a constexpr op, that is, compressed."""
    return Param(name, "tensor", dtypes, domain, optional, const=True, weight=weight, constexpr=constexpr)


def latest(*tables: Iterable[OpSpec]) -> dict[str, OpSpec]:
    """The last row of each op type, of tables in the order of their opsets."""
    return {row.op_type: row for table in tables for row in table}


def family(
    op_types: str, since: Opset, *params: Param, infer: Infer, meaning: Meaning | None = None
) -> Iterable[OpSpec]:
    """A row of one output for each of the `op_types`, which differ in name only."""
    return (OpSpec(op_type, params, 1, since, infer=infer, meaning=meaning) for op_type in op_types.split())
