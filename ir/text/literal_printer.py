"""Types and literals as text, and the names of the tensors that the text does not hold."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import zip_longest
from math import prod
from typing import Any, Final

import numpy as np

from ir.const import Const
from ir.diagnostics import MLPassesError
from ir.packing import unpack_tensor
from ir.tensors import AbstractTensor, MappedTensor, Tensor
from ir.text.numbers import BITS_OF, float_text
from ir.text.words import quote, resource_name, word
from ir.types import (
    BOOL,
    FP32,
    INT32,
    STRING,
    DictionaryType,
    Dim,
    DType,
    ListType,
    StateType,
    TensorType,
    TupleType,
    Type,
    UnknownDim,
)

INLINE_ELEMENTS: Final = 32
"""Literals with more elements than this print as resources. Of 34,560 immediate tensors in 34 real packages two are longer."""
MAX_DEPTH: Final = 100
"""How deep blocks nest, and types and literals: as deep as protobuf reads messages, of which each of these takes at least one."""
BASE64: Final = "base64"
SUGARED: Final = (STRING, BOOL, INT32, FP32)
"""Element types that a literal has without saying so: `"same"`, `true`, `3`, `0.5`."""

_STRING_SCALAR: Final = TensorType(STRING)


class LiteralPrinter:
    """Prints the types and literals of one text; `resources` are the tensors that it named on the way."""

    def __init__(self, *, inline: bool = False) -> None:
        self.resources: dict[str, Tensor] = {}
        self._inline = inline
        self._depth = 0
        self._resource_names: dict[int, str] = {}
        self._taken: dict[str, int] = {}
        self._types: dict[Type, str] = {}
        self._literals: dict[int, str] = {}

    def type(self, type: Type) -> str:  # noqa: A002
        """A type, as `repr` has it."""
        found = self._types.get(type)
        if found is not None:
            return found
        if isinstance(type, TensorType):
            dims = "" if not type.shape and type.rank == 0 else f"[{', '.join([_dim(d) for d in type.shape])}]"
            rank = "" if type.rank == len(type.shape) else f" rank {type.rank}"
            text = f"{type.dtype.name}{dims}{rank}"
            if not type.attributes:
                self._types[type] = text  # others are not kept: how deep they nest counts wherever they stand
                return text
            self._enter()
            attributes = [f"{word(name)} = {self.literal(value, f'type.{name}')}" for name, value in type.attributes]
            self._leave()
            return f"{text} {{{', '.join(attributes)}}}"
        self._enter()
        if isinstance(type, ListType):
            text = f"list<{self.type(type.element)}, {_dim(type.length)}>"
        elif isinstance(type, TupleType):
            text = f"tuple<{', '.join([self.type(t) for t in type.elements])}>"
        elif isinstance(type, DictionaryType):
            text = f"dict<{self.type(type.key)}, {self.type(type.value)}>"
        else:
            assert isinstance(type, StateType)
            text = f"state<{self.type(type.wrapped)}>"
        self._leave()
        return text

    def literal(self, const: Const, base: str, expected: Type | None = None) -> str:
        """A literal; without its type where that is `expected`, or follows from how the literal is written and nothing is expected.

        `base` is what a resource in it would be called.
        """
        if const.type is expected and not _states_shape(const):
            return self._body(const, base) + _doc(const)
        if expected is not None:
            return self._typed(const, self._body(const, base)) + _doc(const)
        found = self._literals.get(id(const))
        if found is not None:
            return found
        text = self._body(const, base)
        if not _is_sugared(const) or text.startswith(("@", BASE64)):
            text = self._typed(const, text)
        text += _doc(const)
        if isinstance(const.type, TensorType) and not const.type.attributes:
            self._literals[id(const)] = text  # one object often stands in many places: a reader shares equal literals
        return text

    def _typed(self, const: Const, body: str) -> str:
        return f"{self.type(const.type)}{body if isinstance(const.type, TupleType) else f'({body})'}"

    def _body(self, const: Const, base: str) -> str:
        """The content of a literal whose type is known."""
        type, data = const.type, const.data  # noqa: A001
        if not isinstance(data, tuple):
            body = self._tensor(data, base)
            return f"{self.type(TensorType(data.dtype, data.shape))}({body})" if _states_shape(const) else body
        self._enter()
        if isinstance(type, DictionaryType):
            pairs = [
                f"{self.literal(key, f'{base}.{i}.key', type.key)}: {self.literal(value, f'{base}.{i}', type.value)}"
                for i, (key, value) in enumerate(const.pairs)
            ]
            text = f"{{{', '.join(pairs)}}}"
        elif isinstance(type, TupleType):
            kinds = zip_longest(const.items, type.elements[: len(const.items)])
            text = f"({', '.join([self.literal(item, f'{base}.{i}', kind) for i, (item, kind) in enumerate(kinds)])})"
        else:
            element = type.element if isinstance(type, ListType) else None
            text = f"[{', '.join([self.literal(item, f'{base}.{i}', element) for i, item in enumerate(const.items)])}]"
        self._leave()
        return text

    def _tensor(self, tensor: Tensor, base: str) -> str:
        dtype, shape = tensor.dtype, tensor.shape
        count = prod(shape)
        if not self._inline and (count > INLINE_ELEMENTS or isinstance(tensor, MappedTensor | AbstractTensor)):
            return f"@{resource_name(self._resource(tensor, base))}"
        if count == 0:
            return "[]"
        if dtype is STRING:
            return _nested([quote(s) for s in tensor.numpy().reshape(-1).tolist()], shape)
        payload = np.frombuffer(tensor.payload(), np.uint8)
        if count > INLINE_ELEMENTS or not _is_canonical(payload, count, dtype):
            return f'{BASE64}"{base64.b64encode(payload.data).decode()}"'
        if dtype.is_float:
            elements = [float_text(bits, dtype) for bits in payload.view(BITS_OF[dtype.bits]).tolist()]
        else:
            values = unpack_tensor(payload, dtype, (count,)).tolist()
            elements = [("true" if v else "false") for v in values] if dtype is BOOL else [str(v) for v in values]
        return _nested(elements, shape)

    def _resource(self, tensor: Tensor, base: str) -> str:
        """The name of a resource: one for each tensor object, derived from where it is met first."""
        name = self._resource_names.get(id(tensor))
        if name is None:
            name = base
            while name in self.resources:
                self._taken[base] = number = self._taken.get(base, 1) + 1
                name = f"{base}.{number}"
            self._resource_names[id(tensor)] = name
            self.resources[name] = tensor
        return name

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise too_deep()

    def _leave(self) -> None:
        self._depth -= 1


def too_deep() -> MLPassesError:
    """The error for what has no text."""
    return MLPassesError(f"blocks, types or literals nest deeper than {MAX_DEPTH} levels: there is no text for them")


def is_string(const: Const, text: str) -> bool:
    """Whether a literal is this string, a scalar without a docstring."""
    return const.type is _STRING_SCALAR and not const.doc and const.tensor.shape == () and bool(const.item() == text)


def _states_shape(const: Const) -> bool:
    """Whether the tensor of a literal has another type or shape than the literal says, as where that has an unknown dimension."""
    type, data = const.type, const.data  # noqa: A001
    if isinstance(data, tuple):
        return False
    if isinstance(type, TensorType) and type.dtype is data.dtype and type.shape == data.shape:
        return type.rank != len(type.shape)
    return True


def _is_sugared(const: Const) -> bool:
    """Whether the type of a literal follows from how its content is written."""
    type, data = const.type, const.data  # noqa: A001
    if isinstance(data, tuple) or data.dtype not in SUGARED:
        return False
    return type is TensorType(data.dtype, data.shape) and prod(data.shape) > 0


def _is_canonical(payload: Any, count: int, dtype: DType) -> bool:
    """Whether the bytes are what these elements are written as: no stray bit behind the last sub-byte one, no bool but 0 and 1."""
    if dtype is BOOL:
        return bool(payload.max() <= 1)
    spare = payload.size * 8 - count * dtype.bits
    return spare == 0 or bool(payload[-1] >> (8 - spare) == 0)


def _doc(const: Const) -> str:
    return f" doc {quote(const.doc)}" if const.doc else ""


def _dim(dim: Dim) -> str:
    return ("*" if dim.variadic else "?") if isinstance(dim, UnknownDim) else str(dim)


def _nested(elements: list[str], shape: Sequence[int]) -> str:
    """Elements in brackets, one pair a dimension; a scalar has none."""
    texts = elements
    for size in reversed(shape):
        texts = [f"[{', '.join(texts[i : i + size])}]" for i in range(0, len(texts), size)]
    return texts[0]
