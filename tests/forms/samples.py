"""Forms of every kind, with numbers that are drawn, and the ops that stand for them."""

from __future__ import annotations

import math
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from attrs import frozen
from hypothesis import strategies as st

from ir.const import Const
from ir.core import Block, Function, Op, Program
from ir.opset import IOS18, Opset
from ir.tensors import Array, ArrayTensor, Tensor, same_tensor
from ir.types import FP16, FP32, INT4, INT8, UINT1, UINT4, UINT8, UINT_BY_BITS, DType, TensorType
from mlpasses.forms.emission import ops_of
from mlpasses.forms.form import Floats, Form, Indexed, Scaled, Values

Entries: TypeAlias = Literal["floats", "integers", "scaled"]
Offset: TypeAlias = Literal["none", "integers", "floats"]
Kind: TypeAlias = Literal["floats", "integers", "indices"]
KINDS: Final[tuple[Kind, ...]] = ("floats", "integers", "indices")
ENTRIES: Final[tuple[Entries, ...]] = ("floats", "integers", "scaled")
OFFSETS: Final[tuple[Offset, ...]] = ("none", "integers", "floats")
INTEGERS: Final = (INT8, UINT8, INT4, UINT4)
BITS: Final = (1, 2, 3, 4, 6, 8)


@frozen
class Spec:
    """What kind of form; the shape of the weight is `scales · rows` times the vectors' length along axis 0."""

    values: Kind
    masked: bool = False
    """Whether a mask keeps half of them, rounded up."""
    dtype: DType = FP16
    data: DType = INT8
    """Of integers, or of the entries of a table where they are integers."""
    offset: Offset = "none"
    nbits: int = 4
    entries: Entries = "floats"
    tables: tuple[int, ...] = (1, 1)
    """Tables on each axis."""
    scales: tuple[int, ...] = (2, 1)
    """Scales on each axis: those of integers, those behind a table."""
    behind: bool = False
    """Whether there is a scale behind the table; always, where its entries are integers."""
    vector: int = 1
    axis: int = 0
    """Where the vectors lie."""
    rows: tuple[int, ...] = (3, 4)
    seed: int = 0

    @property
    def codes(self) -> tuple[int, ...]:
        """The shape of the codes, were there no mask."""
        return tuple(math.lcm(a, b) * c for a, b, c in zip(self.tables, self.scales, self.rows, strict=True))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weight."""
        return tuple(dim * (self.vector if at == self.axis else 1) for at, dim in enumerate(self.codes))

    def form(self) -> Form:
        draw = np.random.default_rng(self.seed)
        values = self._values(draw)
        mask = None
        if self.masked:
            flags = draw.permutation(np.arange(math.prod(self.codes)) % 2 == 0).astype(np.uint8).reshape(self.codes)
            mask = ArrayTensor(flags, UINT1)
            values = _kept(values, flags.view(np.bool_))
        if not self.behind and not (self.values == "indices" and self.entries == "integers"):
            return Form(values, mask=mask)
        offset = self._offset(draw, self.data, self.scales) if self.entries == "integers" else None
        return Form(values, self._scale(draw, self.scales), offset, mask)

    def _values(self, draw: np.random.Generator) -> Values:
        if self.values == "floats":
            return Floats(floats(draw, self.codes, self.dtype))
        if self.values == "indices":
            return self._indexed(draw)
        scale = self._scale(draw, self.scales)
        return Scaled(integers(draw, self.codes, self.data), scale, self._offset(draw, self.data, self.scales))

    def _indexed(self, draw: np.random.Generator) -> Indexed:
        shape = (*self.tables, 1 << self.nbits, self.vector)
        entries: Floats | Scaled
        if self.entries == "floats":
            entries = Floats(floats(draw, shape, self.dtype))
        elif self.entries == "integers":
            entries = Floats(integers(draw, shape, self.data))
        else:
            counts = (*self.tables, 1, 1)
            entries = Scaled(integers(draw, shape, self.data), self._scale(draw, counts), self._offset(draw, self.data, counts))
        indices = ArrayTensor(draw.integers(0, 1 << self.nbits, self.codes).astype(np.uint8), UINT_BY_BITS[self.nbits])
        return Indexed(indices, entries, self.axis if self.vector > 1 else None)

    def _scale(self, draw: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
        return floats(draw, shape, self.dtype)

    def _offset(self, draw: np.random.Generator, data: DType, shape: tuple[int, ...]) -> Tensor | None:
        if self.offset == "none":
            return None
        return integers(draw, shape, data) if self.offset == "integers" else floats(draw, shape, self.dtype)


def floats(draw: np.random.Generator, shape: tuple[int, ...], dtype: DType) -> Tensor:
    return ArrayTensor((draw.standard_normal(shape) * 3).astype(dtype.numpy), dtype)


def integers(draw: np.random.Generator, shape: tuple[int, ...], dtype: DType) -> Tensor:
    least = -(1 << dtype.bits - 1) if dtype.kind == "int" else 0
    return ArrayTensor(draw.integers(least, least + (1 << dtype.bits), shape).astype(dtype.numpy), dtype)


def _kept(values: Values, flags: Array) -> Values:
    if isinstance(values, Floats):
        return Floats(_taken(values.tensor, flags))
    if isinstance(values, Scaled):
        return Scaled(_taken(values.data, flags), values.scale, values.offset)
    return Indexed(_taken(values.indices, flags), values.entries, values.vector_axis)


def _taken(tensor: Tensor, flags: Array) -> Tensor:
    return ArrayTensor(tensor.numpy()[flags], tensor.dtype)


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """Every kind of form that there is."""
    rank = draw(st.integers(1, 3))
    counts = st.lists(st.integers(1, 3), min_size=rank, max_size=rank).map(tuple)
    kind = draw(st.sampled_from(KINDS))
    entries = draw(st.sampled_from(ENTRIES))
    vector = draw(st.sampled_from((1, 1, 2, 4))) if kind == "indices" else 1
    return Spec(
        kind,
        masked=kind == "floats" or draw(st.booleans()),
        dtype=draw(st.sampled_from((FP16, FP32))),
        data=draw(st.sampled_from(INTEGERS if kind == "integers" else (INT8, UINT8))),
        offset=draw(st.sampled_from(OFFSETS)),
        nbits=draw(st.sampled_from(BITS)),
        entries=entries,
        tables=draw(counts) if kind == "indices" else (1,) * rank,
        scales=draw(counts),
        behind=kind == "indices" and (entries == "integers" or draw(st.booleans())),
        vector=vector,
        axis=draw(st.integers(0, rank - 1)),
        rows=draw(counts),
        seed=draw(st.integers(0, 99)),
    )


def dense(shape: tuple[int, ...], dtype: DType = FP16, name: str = "w") -> Op:
    """A detached const op of zeros."""
    zeros = ArrayTensor(np.zeros(shape, dtype.numpy), dtype)
    return Op("const", {}, [(name, TensorType(dtype, shape))], {"name": Const.of(name), "val": Const.of(zeros)})


def emitted(spec: Spec, opset: Opset = IOS18, dtype: DType | None = None) -> list[Op]:
    """The ops of a spec's form, for a weight of its own float type, or of another."""
    return ops_of(spec.form(), dense(spec.shape, dtype or spec.dtype), opset)


def program_of(forms: dict[str, tuple[Form, tuple[int, ...], DType]], opset: Opset) -> Program:
    """A program that adds each weight to its input, so that coremltools has a use for it; weights are given by form, shape and type."""
    function = Function("main", [("x", TensorType(FP32, (1,)))], opset.key)
    block = Block()
    function.add_block(opset.key, block)
    for name, (form, shape, dtype) in forms.items():
        for op in ops_of(form, dense(shape, dtype, name), opset):
            block.append(op)
        value = op.output
        if dtype is not FP32:
            cast = Op("cast", {"x": value, "dtype": Const.of("fp32")}, [(f"{name}_as_fp32", TensorType(FP32, shape))])
            block.append(cast)
            value = cast.output
        block.append(Op("add", {"x": value, "y": function.inputs[0]}, [(f"{name}_sum", TensorType(FP32, shape))]))
    assert block.last is not None
    block.set_outputs(block.last.outputs)
    return Program([function], spec_version=opset.spec_version)


def same_form(one: Form, other: Form) -> bool:
    """Whether two forms are equal bit for bit, layer by layer."""
    mine, yours = _layers(one), _layers(other)
    return mine.keys() == yours.keys() and all(_same(mine[each], yours[each]) for each in mine)


def _layers(form: Form) -> dict[str, Any]:
    values = form.values
    found: dict[str, Any] = {"scale": form.scale, "offset": form.offset, "mask": form.mask, "values": type(values).__name__}
    if isinstance(values, Indexed):
        found |= {"indices": values.indices, "axis": values.vector_axis}
        values = values.entries
    if isinstance(values, Scaled):
        return found | {"data": values.data, "data scale": values.scale, "data offset": values.offset}
    return found | {"floats": values.tensor}


def _same(mine: Any, yours: Any) -> bool:
    if mine is None or yours is None or isinstance(mine, int | str):
        return bool(mine == yours)
    return same_tensor(mine, yours)
