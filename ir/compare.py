"""Structural comparison: are two programs, functions or blocks the same, and if not, where do they first differ?

Literals are compared bit for bit, maps (functions, specializations, parameters, attributes, metadata) whatever their order, everything
else in order. Values correspond if they are defined at the same place; their names count too, unless told otherwise. Linear.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import numpy as np
from attrs import frozen

from ir.const import Const
from ir.core import Block, Function, Op, Operand, Program, Value
from ir.types import STRING

Compared = TypeVar("Compared", Program, Function, Block)


@frozen
class Difference:
    """Where two programs first differ, in program order, and how. Prints as a sentence: `main/CoreML8/op 14 (conv conv_3)/x: …`."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


@frozen
class Comparison:
    """What counts. Without `value_names`, programs that differ only in the names of values are the same, if each name of one stands for
    one of the other; without `name_attributes`, the attribute `name` of ops does not count; without `labels`, the specification versions,
    metadata and attributes of the two programs do not.
    """

    value_names: bool = True
    name_attributes: bool = True
    labels: bool = True


STRICT: Final = Comparison()
ALPHA: Final = Comparison(value_names=False, name_attributes=False)
"""Same up to names."""


def first_difference(a: Compared, b: Compared, what: Comparison = STRICT) -> Difference | None:
    """The first difference between `a` and `b`, None if they are the same.

    Documents (what a package holds beside its program) and origins are not compared. A value that a block compared by itself uses from
    outside corresponds to one of the same name, or to one and the same other value where names do not count.
    """
    finder = _Finder(what)
    if isinstance(a, Program) and isinstance(b, Program):
        found = finder.programs(a, b)
    elif isinstance(a, Function) and isinstance(b, Function):
        found = finder.functions(a, b, (a.name,))
    elif isinstance(a, Block) and isinstance(b, Block):
        found = finder.blocks(a, b, ())
    else:
        raise TypeError(f"a {type(a).__name__} cannot be compared with a {type(b).__name__}")
    difference = next(found, None)
    if difference is None:
        return None
    path, message = difference
    return Difference("/".join(map(str, path)), message)


_Path = tuple[object, ...]
_Found = Iterator[tuple[_Path, str]]


@frozen
class _At:
    """A step of a path, put into words only where it is shown."""

    number: int
    op: Op

    def __str__(self) -> str:
        return f"op {self.number} ({self.op.op_type} {self.op.name})"


class _Finder:
    """One comparison: which value of one side stands for which of the other."""

    def __init__(self, what: Comparison) -> None:
        self.what = what
        self.counterpart: dict[Value, Value] = {}
        self.taken: dict[Value, Value] = {}

    def programs(self, a: Program, b: Program, path: _Path = ()) -> _Found:
        labels = self.what.labels or path != ()
        for counts, what, p, q in (
            (labels, "the specification versions", a.spec_version, b.spec_version),
            (True, "the format versions", a.format_version, b.format_version),
            (True, "the docstrings", a.doc, b.doc),
        ):
            if counts and p != q:
                yield path, f"{what} differ: {p!r} and {q!r}"
        if labels:
            yield from _maps(a.metadata, b.metadata, "metadata", path)
            yield from _attributes(a.attributes, b.attributes, path)
        yield from _keys(a.functions, b.functions, "function", path)
        for name, function in a.functions.items():
            yield from self.functions(function, b.functions[name], (*path, name))
        yield from _keys(a.stages, b.stages, "pipeline stage", path)
        for position, stage in a.stages.items():
            yield from self.programs(stage, b.stages[position], (*path, f"stage {'.'.join(map(str, position))}"))

    def functions(self, a: Function, b: Function, path: _Path) -> _Found:
        if a.name != b.name:
            yield path, f"one function is called {a.name}, the other {b.name}"
        if a.opset != b.opset:
            yield path, f"the opsets differ: {a.opset} and {b.opset}"
        yield from self._definitions(a.inputs, b.inputs, "input", path)
        yield from _attributes(a.attributes, b.attributes, path)
        yield from _keys(a.specializations, b.specializations, "specialization", path)
        for opset, block in a.specializations.items():
            yield from self.blocks(block, b.specializations[opset], (*path, opset))

    def blocks(self, a: Block, b: Block, path: _Path) -> _Found:
        """Compares without recursion: a generator of a nested block is put on top of that of the block around it."""
        running: list[_Found | Iterator[tuple[Block, Block, _Path]]] = [self._block(a, b, path)]
        while running:
            step: Any = next(running[-1], None)
            if step is None:
                running.pop()
            elif len(step) == 3:
                running.append(self._block(*step))
            else:
                yield step

    def _block(self, a: Block, b: Block, path: _Path) -> Iterator[Any]:
        yield from self._definitions(a.inputs, b.inputs, "input", path)
        yield from _attributes(a.attributes, b.attributes, path)
        number, p, q = 0, a.first, b.first
        while p is not None and q is not None:
            at = (*path, _At(number, p))
            yield from self._op(p, q, at)
            for i, (inner, other) in enumerate(zip(p.blocks, q.blocks, strict=True)):
                yield inner, other, (*at, f"block {i}")
            yield from self._definitions(p.outputs, q.outputs, "result", at)
            number, p, q = number + 1, p.next, q.next
        if p is not None or q is not None:
            longer, rest = ("the first", p) if p is not None else ("the second", q)
            assert rest is not None
            yield path, f"{longer} goes on after op {number - 1} with {_At(number, rest)}"
        if len(a.outputs) != len(b.outputs):
            yield path, f"the numbers of outputs differ: {len(a.outputs)} and {len(b.outputs)}"
        for i, (value, returned) in enumerate(zip(a.outputs, b.outputs, strict=True)):
            yield from self._operand(value, returned, (*path, f"output {i}"))

    def _op(self, a: Op, b: Op, path: _Path) -> _Found:
        if a.op_type != b.op_type:
            yield path, f"in the other it is {b.op_type} {b.name}"
        yield from _keys(a.operands, b.operands, "parameter", path)
        for parameter, held in a.operands.items():
            other = b.operands[parameter]
            if len(held) != len(other):
                yield (*path, parameter), f"the numbers of operands differ: {len(held)} and {len(other)}"
            for i, (p, q) in enumerate(zip(held, other, strict=True)):
                if p is not q or p.__class__ is Value:
                    yield from self._operand(p, q, (*path, parameter if len(held) == 1 else f"{parameter}[{i}]"))
        if self.what.name_attributes:
            yield from _attributes(a.attributes, b.attributes, path)
        else:
            yield from _attributes(_unnamed(a.attributes), _unnamed(b.attributes), path)
        if len(a.blocks) != len(b.blocks):
            yield path, f"the numbers of nested blocks differ: {len(a.blocks)} and {len(b.blocks)}"

    def _definitions(self, a: Sequence[Value], b: Sequence[Value], kind: str, path: _Path) -> _Found:
        if len(a) != len(b):
            yield path, f"the numbers of {kind}s differ: {len(a)} and {len(b)}"
        for i, (p, q) in enumerate(zip(a, b, strict=True)):
            if self.what.value_names and p.name != q.name:
                yield (*path, f"{kind} {i}"), f"one is called {p.name}, the other {q.name}"
            if p.type is not q.type:
                yield (*path, f"{kind} {i}"), f"{p.name} is of type {p.type!r} in one, of {q.type!r} in the other"
            if not self._pair(p, q):
                yield (*path, f"{kind} {i}"), f"{p.name} and {q.name} were used before, and not for one another"

    def _operand(self, a: Operand, b: Operand, path: _Path) -> _Found:
        if isinstance(a, Const) and isinstance(b, Const):
            yield from _literals(a, b, path)
        elif isinstance(a, Const) or isinstance(b, Const) or not self._corresponds(a, b):
            yield path, f"one is {_shown(a)}, the other {_shown(b)}"

    def _corresponds(self, a: Value, b: Value) -> bool:
        return self._pair(a, b) and a.type is b.type and (a.name == b.name or not self.what.value_names)

    def _pair(self, a: Value, b: Value) -> bool:
        """Whether the two stand for one another; from now on, if neither stood for any before."""
        return self.counterpart.setdefault(a, b) is b and self.taken.setdefault(b, a) is a


def _unnamed(attributes: Mapping[str, Const]) -> Mapping[str, Const]:
    return {key: value for key, value in attributes.items() if key != "name"}


def _attributes(a: Mapping[str, Const], b: Mapping[str, Const], path: _Path) -> _Found:
    yield from _keys(a, b, "attribute", path)
    for key, value in a.items():
        if value is not b[key]:
            yield from _literals(value, b[key], (*path, key))


def _maps(a: Mapping[str, str], b: Mapping[str, str], kind: str, path: _Path) -> _Found:
    yield from _keys(a, b, f"{kind} entry", path)
    for key, value in a.items():
        if value != b[key]:
            yield (*path, kind, key), f"one is {value!r}, the other {b[key]!r}"


def _keys(a: Mapping[Any, object], b: Mapping[Any, object], kind: str, path: _Path) -> _Found:
    if a.keys() == b.keys():
        return
    only = [("the first", key) for key in a if key not in b] + [("the second", key) for key in b if key not in a]
    side, key = only[0]
    yield path, f"only {side} has {kind} {key}"


def _literals(a: Const, b: Const, path: _Path) -> _Found:
    if a != b:
        yield path, _literal_difference(a, b)


def _literal_difference(a: Const, b: Const) -> str:
    if a.type is not b.type:
        return f"one literal is of type {a.type!r}, the other of {b.type!r}"
    if isinstance(a.data, tuple) or isinstance(b.data, tuple):
        left, right = a.data, b.data
        if not isinstance(left, tuple) or not isinstance(right, tuple) or len(left) != len(right):
            return "the literals differ in their number of elements"
        if left != right:
            return f"the literals differ first at element {next(i for i, (p, q) in enumerate(zip(left, right, strict=True)) if p != q)}"
    elif a.with_doc("") != b.with_doc(""):
        return _tensor_difference(a, b)
    return f"the literals' docstrings differ: {a.doc!r} and {b.doc!r}"


def _tensor_difference(a: Const, b: Const) -> str:
    left, right = a.numpy().reshape(-1), b.numpy().reshape(-1)
    if left.shape != right.shape:
        return f"the numbers of elements differ: {left.size} and {right.size}"
    if a.tensor.dtype is STRING:
        unequal = np.array([p != q for p, q in zip(left, right, strict=True)])
    else:
        width = left.dtype.itemsize
        bits = [np.ascontiguousarray(side).view(np.uint8).reshape(-1, width) for side in (left, right)]
        unequal = (bits[0] != bits[1]).any(axis=1)
    if not unequal.any():
        return "the literals differ in the unused bits of their last byte"
    at = int(unequal.argmax())
    place = f" first at element {at}" if left.size > 1 else ""
    return f"the literals of type {a.type!r} differ{place}: {left[at]!s} and {right[at]!s}"


def _shown(operand: Operand) -> str:
    return f"%{operand.name}" if isinstance(operand, Value) else f"a literal of type {operand.type!r}"
