"""Hypothesis strategies for the IR: types, tensors, literals, and programs with all that a program can have.

What they draw keeps the invariants of the object model and passes the structural verifier; the ops mean nothing. `wild_names`,
`wild_text` and `shadowing` widen that to what no file holds but the object model does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import prod
from typing import Any, Final

import numpy as np
from attrs import frozen
from hypothesis import strategies as st

from ir.const import Const
from ir.core import Block, Function, Op, Operand, Program, Value
from ir.opset import OPSETS
from ir.packing import packed_size
from ir.tensors import ArrayTensor, PackedTensor, Tensor
from ir.types import (
    BOOL,
    DTYPES,
    FP16,
    INT32,
    STRING,
    UNKNOWN,
    VARIADIC,
    DictionaryType,
    Dim,
    DType,
    ListType,
    StateType,
    TensorType,
    TupleType,
    Type,
)  # fmt: skip

Strings = st.SearchStrategy[str]

identifiers: Final[Strings] = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,11}", fullmatch=True)
"""Names that a file may hold."""
wild_text: Final[Strings] = st.text(st.characters(exclude_categories=()), max_size=12)
"""Any string at all: line ends, quotes, lone surrogates, NUL."""
wild_names: Final[Strings] = identifiers | st.text(st.sampled_from('aB_1@.%^?" \\\n/\ud800é'), max_size=4) | wild_text
"""Names that no file may hold, beside those that it may."""
plain_text: Final[Strings] = st.text(max_size=12)
"""Any string that a file can hold."""

OP_TYPES: Final = (
    "add", "cast", "concat", "cond", "const", "constexpr_lut_to_dense", "conv", "gather", "linear", "made_up", "relu", "return",
    "softmax", "split", "while_loop", "write_state",
)  # fmt: skip
"""Ops with a row and without one, and one that is a keyword of the text form."""
PARAMETERS: Final = ("x", "y", "values", "axis", "weight", "zz_unknown", "dtype", "indices", "block")
COMMON: Final = tuple(Const.of(v) for v in ("same", "fp16", True, False, 0, 3, -1, 0.5, [1, 1], [0, 0, 1, 1]))
"""Literals that most programs hold."""
SMALL: Final = 8
"""Elements of most literals."""
LARGE: Final = 40
"""Elements of some: more than the text form writes in place."""


# types


@st.composite
def shapes(draw: st.DrawFn, max_elements: int = SMALL) -> tuple[int, ...]:
    """Static shapes of a bounded number of elements: scalars, empty ones, and up to four dimensions."""
    shape: list[int] = []
    for _ in range(draw(st.integers(0, 4))):
        shape.append(draw(st.integers(0, max(max_elements // max(prod(shape), 1), 1))))
    return tuple(shape)


dims: Final[st.SearchStrategy[Dim]] = st.integers(0, 9) | st.just(2**63 - 1) | st.sampled_from([UNKNOWN, VARIADIC])


@st.composite
def tensor_types(draw: st.DrawFn, text: Strings = plain_text) -> TensorType:
    """Tensor types with unknown and variadic dimensions; now and then with a rank that is not their length, or with attributes."""
    shape = draw(st.lists(dims, max_size=4))
    rank = draw(st.sampled_from([None, None, None, -1, 5]))
    attributes: tuple[tuple[str, Const], ...] = ()
    if draw(st.integers(0, 9)) == 9:
        names = draw(st.sets(identifiers, min_size=1, max_size=2))
        attributes = tuple((name, draw(tensor_consts(text))) for name in sorted(names))
    return TensorType(draw(st.sampled_from(DTYPES)), shape, rank, attributes)


@cache  # building strategies takes longer than drawing from them
def types(text: Strings = plain_text) -> st.SearchStrategy[Type]:
    """Types of every kind, nested a few levels deep."""
    lengths: st.SearchStrategy[Dim] = st.integers(0, 5) | st.just(UNKNOWN)
    return st.recursive(
        tensor_types(text),
        lambda inner: (
            st.builds(ListType, inner, lengths)
            | st.builds(TupleType, st.lists(inner, max_size=3))
            | st.builds(DictionaryType, inner, inner)
            | st.builds(StateType, inner)
        ),
        max_leaves=4,
    )


# tensors and literals


@st.composite
def tensors(draw: st.DrawFn, dtype: DType | None = None, shape: tuple[int, ...] | None = None, text: Strings = plain_text) -> Tensor:
    """Tensors with any bits: NaN payloads, infinities, -0, subnormals, extremes; and stray bits behind the last packed element."""
    kind = draw(st.sampled_from(DTYPES)) if dtype is None else dtype
    size = draw(shapes(LARGE if draw(st.integers(0, 9)) == 9 else SMALL)) if shape is None else shape
    count = prod(size)
    if kind is STRING:
        array = np.empty(count, object)
        array[:] = draw(st.lists(text, min_size=count, max_size=count))
        return ArrayTensor(array.reshape(size), STRING)
    if kind is BOOL:
        return ArrayTensor(np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)), np.bool_).reshape(size), BOOL)
    needed = packed_size(count, kind.bits)
    payload = draw(st.binary(min_size=needed, max_size=needed)) if needed <= 4 * SMALL else _repeated(draw(st.binary(min_size=9)), needed)
    packed = PackedTensor(payload, kind, size)
    return packed if draw(st.booleans()) else ArrayTensor(packed.numpy(), kind)


def _repeated(data: bytes, size: int) -> bytes:
    return (data * (size // len(data) + 1))[:size]


@st.composite
def tensor_consts(draw: st.DrawFn, text: Strings = plain_text) -> Const:
    """Tensor literals; now and then with a docstring."""
    tensor = draw(tensors(text=text))
    return Const(TensorType(tensor.dtype, tensor.shape), tensor, draw(_docs(text)))


@cache
def _docs(text: Strings) -> Strings:
    return st.just("") | st.just("") | st.just("") | text


@st.composite
def const_of_type(draw: st.DrawFn, kind: Type, text: Strings = plain_text) -> Const:
    """Literals of this type. Where it has unknown dimensions, the tensor has some; a state has no literal, so it counts as its content."""
    doc = draw(_docs(text))
    if isinstance(kind, TensorType):
        small = kind.is_static and prod(size or 1 for size in kind.static_shape) <= LARGE
        shape = kind.static_shape if small else draw(shapes())
        stated = kind if small else TensorType(kind.dtype, shape)
        return Const(stated, draw(tensors(kind.dtype, shape, text)), doc)
    if isinstance(kind, StateType):
        return draw(const_of_type(kind.wrapped, text))
    if isinstance(kind, DictionaryType):
        entries = [(draw(const_of_type(kind.key, text)), draw(const_of_type(kind.value, text))) for _ in range(draw(st.integers(0, 2)))]
        return Const(kind, tuple(entries), doc)
    if isinstance(kind, TupleType):
        return Const(kind, tuple(draw(const_of_type(element, text)) for element in kind.elements), doc)
    assert isinstance(kind, ListType)
    return Const(kind, tuple(draw(const_of_type(kind.element, text)) for _ in range(draw(st.integers(0, 3)))), doc)


@cache
def consts(text: Strings = plain_text) -> st.SearchStrategy[Const]:
    """Literals of every kind; most are those that programs hold."""
    return st.sampled_from(COMMON) | tensor_consts(text) | types(text).flatmap(lambda kind: const_of_type(kind, text))


# programs


@frozen
class Wildness:
    """What drawn programs may hold beyond what a file may."""

    names: Strings = identifiers
    text: Strings = plain_text
    shadowing: bool = False
    """Nested blocks may define a name that is visible there already."""


TAME: Final = Wildness()


class _Builder:
    """Draws one function. `visible` are the values in scope, `taken` the names that a new value may not have."""

    def __init__(self, draw: st.DrawFn, wildness: Wildness) -> None:
        self.draw = draw
        self.wild = wildness

    def fresh(self, count: int, taken: set[str]) -> list[str]:
        names: list[str] = []
        for _ in range(count):
            name = self.draw(self.wild.names)
            while name in taken:
                name += "_"
            taken.add(name)
            names.append(name)
        return names

    def typed(self, names: Sequence[str]) -> list[tuple[str, Type]]:
        return [(name, self.draw(_value_types(self.wild.text))) for name in names]

    def attributes(self) -> dict[str, Const]:
        if self.draw(st.integers(0, 3)):
            return {}
        return self.draw(st.dictionaries(self.wild.names, consts(self.wild.text), max_size=2))

    def operand(self, visible: Sequence[Value]) -> Operand:
        if not visible or not self.draw(st.integers(0, 3)):
            return self.draw(consts(self.wild.text))
        chosen: Value = self.draw(st.sampled_from(visible))
        return chosen

    def op(self, visible: list[Value], taken: set[str], depth: int) -> Op:
        draw = self.draw
        op_type = draw(st.sampled_from(OP_TYPES))
        operands: dict[str, Sequence[Operand]] = {}
        attributes = self.attributes()
        attributes.pop("name", None)
        names = self.fresh(draw(st.sampled_from([1, 1, 1, 1, 0, 2, 3])), taken)
        outputs = self.typed(names)
        if op_type == "const" and names:
            attributes["val"] = draw(consts(self.wild.text))
            outputs[0] = (names[0], draw(st.sampled_from([attributes["val"].type, attributes["val"].type, outputs[0][1]])))
        else:
            for parameter in draw(st.lists(st.sampled_from(PARAMETERS), unique=True, max_size=4)):
                operands[parameter] = [self.operand(visible) for _ in range(draw(st.sampled_from([1, 1, 1, 0, 2, 3])))]
        naming = draw(st.sampled_from(["as the output", "as the output", "differently", "not"]))
        if naming == "as the output" and names:
            attributes["name"] = Const.of(names[0])
        elif naming == "differently":
            attributes["name"] = Const.of(draw(self.wild.text))
        blocks = [self.block(visible, taken, depth - 1) for _ in range(draw(st.integers(0, 2)))] if depth and op_type in _NESTING else []
        return Op(op_type, operands, outputs, attributes, blocks)

    def block(self, outer: Sequence[Value], outside: set[str], depth: int, most_inputs: int = 2, reserved: Sequence[str] = ()) -> Block:
        taken = {*reserved, *(() if self.wild.shadowing else outside)}
        block = Block(self.typed(self.fresh(self.draw(st.integers(0, most_inputs)), taken)), self.attributes())
        visible = [*outer, *block.inputs]
        for _ in range(self.draw(st.sampled_from([1, 2, 3, 4, 5, 0]))):
            op = self.op(visible, taken, depth)
            block.append(op)
            visible += op.outputs
        if visible:
            block.set_outputs(self.draw(st.lists(st.sampled_from(visible), max_size=3)))
        return block

    def function(self, name: str) -> Function:
        taken: set[str] = set()
        keys = [opset.key for opset in OPSETS]
        specializations = self.draw(st.lists(st.sampled_from(keys), min_size=1, max_size=2, unique=True))
        function = Function(name, self.typed(self.fresh(self.draw(st.integers(0, 3)), taken)), specializations[0], self.attributes())
        returned: tuple[Value, ...] = ()
        for key in specializations:
            most_inputs = self.draw(st.sampled_from([0, 0, 2])) if self.wild.shadowing else 0
            made = dict.fromkeys(value for value in returned if value not in function.inputs)
            block = self.block(function.inputs, taken, 2, most_inputs, [value.name for value in made])
            if key == specializations[0]:
                returned = block.outputs
            else:  # what a function returns has the same names and types in every specialization
                last = Op("made_up", {}, [(value.name, value.type) for value in made])
                block.append(last)
                same = dict(zip(made, last.outputs, strict=True))
                block.set_outputs([same.get(value, value) for value in returned])
            function.add_block(key, block)
        return function


_NESTING: Final = ("cond", "while_loop", "made_up")


@cache
def _value_types(text: Strings) -> st.SearchStrategy[Type]:
    return st.sampled_from([TensorType(FP16, (1, 3)), TensorType(INT32), TensorType(FP16, (1, UNKNOWN))]) | types(text)


@st.composite
def functions(draw: st.DrawFn, name: str = "main", wildness: Wildness = TAME) -> Function:
    """Functions with one or two specializations, nested blocks two deep, literals and values as operands."""
    return _Builder(draw, wildness).function(name)


@st.composite
def programs(draw: st.DrawFn, wildness: Wildness = TAME, stages: int = 1) -> Program:
    """Programs with everything: functions, attributes, metadata, docstrings; and `stages` levels of pipelines."""
    builder = _Builder(draw, wildness)
    names = draw(st.lists(wildness.names, min_size=1, max_size=2, unique=True)) if draw(st.integers(0, 9)) else []
    program = Program(
        [builder.function(name) for name in names],
        spec_version=draw(st.integers(6, 10)),
        format_version=draw(st.sampled_from([1, 1, 2])),
        doc=draw(_docs(wildness.text)),
    )
    program.attributes = builder.attributes()
    program.metadata = draw(st.dictionaries(wildness.text, wildness.text, max_size=2))
    if stages and not draw(st.integers(0, 5)):
        for position in draw(st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=2).map(tuple), max_size=2, unique=True)):
            program.stages[position] = draw(programs(wildness, stages - 1))
    return program


@st.composite
def mutations(draw: st.DrawFn, text: str, scraps: Sequence[str]) -> str:
    """A text with a few places cut out, doubled, swapped or overwritten."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 20)))
        edit: Any = draw(st.sampled_from(["cut", "double", "scrap", "char"]))
        if edit == "cut":
            text = text[:start] + text[end:]
        elif edit == "double":
            text = text[:end] + text[start:end] + text[end:]
        elif edit == "scrap":
            text = text[:start] + draw(st.sampled_from(scraps)) + text[end:]
        else:
            text = text[:start] + draw(st.characters(exclude_categories=())) + text[end:]
    return text
