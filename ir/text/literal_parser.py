"""Types and literals out of their text."""

from __future__ import annotations

import binascii
import re
import sys
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Final

import numpy as np

from ir.const import Const, Data
from ir.packing import packed_size
from ir.tensors import ArrayTensor, PackedTensor, Tensor
from ir.text.lexer import END, Cursor, is_integer, is_number
from ir.text.literal_printer import BASE64, MAX_DEPTH
from ir.text.numbers import bits_array, float_bits
from ir.text.words import unquote
from ir.types import (
    BOOL,
    DTYPE_BY_NAME,
    FP32,
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
)

MAX_RANK: Final = 64
"""The rank that a NumPy array can have."""
TRUTH: Final = {"true": True, "false": False}
LISTED: Final = 8
"""How many missing resources an error names."""

_DIM: Final = re.compile(r"-?[0-9]{1,40}")
_UNKNOWN: Final = {"?": UNKNOWN, "*": VARIADIC}
_STRING_SCALAR: Final = TensorType(STRING)


def string_const(text: str) -> Const:
    """A string scalar. `Const.of` without the questions (twice as fast, and every op has one)."""
    return Const(_STRING_SCALAR, ArrayTensor(np.array(text, object), STRING))


class LiteralParser(Cursor):
    """Reads types and literals. Equal literals of one text may come out as one object."""

    def __init__(self, text: str, resources: Mapping[str, Tensor] | None = None) -> None:
        super().__init__(text)
        self._resources = resources or {}
        self._nesting = 0
        self._types: dict[str, Type] = {}
        self._plain: dict[str, Const] = {}
        self._arrays: dict[tuple[str, ...], Const] = {}
        self._scalars: dict[tuple[Type, str], Const] = {}

    # types

    def type(self) -> Type:
        """Moves over a type."""
        token = self.tokens[self.at]
        found = self._types.get(token)
        if found is None:
            if token in ("list", "tuple", "dict", "state"):
                return self._compound_type(token)
            found = self._types[token] = self._tensor_type(token)
        self.at += 1
        following = self.tokens[self.at]
        if following == "rank" or following == "{":
            assert isinstance(found, TensorType)
            return self._with_rank_and_attributes(found)
        return found

    def _tensor_type(self, token: str) -> TensorType:
        name, _, dims = token.partition("[")
        dtype = DTYPE_BY_NAME.get(name)
        if dtype is None:
            self.fail_expected("a type, like fp16[1, 3] or list<int32, ?>")
        shape: list[Dim] = []
        for text in dims[:-1].split(",") if dims[:-1].strip() else ():
            dim = text.strip()
            if dim in _UNKNOWN:
                shape.append(_UNKNOWN[dim])
            elif _DIM.fullmatch(dim):
                shape.append(int(dim))
            else:
                self.fail(f"a dimension is a number, ? or *, not {dim[:60]!r}")
        return TensorType(dtype, shape)

    def _with_rank_and_attributes(self, base: TensorType) -> TensorType:
        rank = base.rank
        if self.tokens[self.at] == "rank":
            self.at += 1
            rank = self.integer("a number as the rank")
        attributes: dict[str, Const] = {}
        if self.tokens[self.at] == "{":
            self.at += 1
            self._nest()
            while True:
                start = self.at
                name = self.word("the name of a type's attribute")
                self.expect("=", "after the name of a type's attribute")
                if name in attributes:
                    self.fail(f"the type has an attribute {name} already", start)
                attributes[name] = self.literal()
                if not self.more("}", "a type's attribute"):
                    break
            self._nesting -= 1
        return TensorType(base.dtype, base.shape, rank, tuple(sorted(attributes.items(), key=lambda item: item[0])))

    def _compound_type(self, kind: str) -> Type:
        self.at += 1
        self._nest()
        self.expect("<", f"after {kind}")
        made: Type
        if kind == "state":
            made = StateType(self.type())
        elif kind == "dict":
            key = self.type()
            self.expect(",", "between the types of keys and values")
            made = DictionaryType(key, self.type())
        elif kind == "list":
            element = self.type()
            self.expect(",", "before the length of a list, which is a number or ?")
            made = ListType(element, self._length())
        else:
            elements: list[Type] = []
            if self.tokens[self.at] != ">":
                elements.append(self.type())
                while self.tokens[self.at] == ",":
                    self.at += 1
                    elements.append(self.type())
            made = TupleType(elements)
        self.expect(">", f"at the end of a {kind}'s type")
        self._nesting -= 1
        return made

    def _length(self) -> Dim:
        found = _UNKNOWN.get(self.tokens[self.at])
        if found is None:
            return self.integer("the length of a list, a number or ?")
        self.at += 1
        return found

    # literals

    def literal(self) -> Const:
        """Moves over a literal that says its type, or whose type follows from how it is written."""
        token = self.tokens[self.at]
        found = self._plain.get(token)
        if found is not None:
            self.at += 1
        elif token == "[":
            found = self._sugared_array()
        else:
            dtype = _dtype_of_token(token)
            if dtype is None:
                return self._typed_literal()
            found = self._plain[token] = Const(TensorType(dtype), self._array(dtype, (), [self.at]))
            self.at += 1
        return self._documented(found) if self.tokens[self.at] == "doc" else found

    def expected_literal(self, type: Type) -> Const:  # noqa: A002
        """Moves over a literal of this type, or over one that says that it has another."""
        token = self.tokens[self.at]
        found = self._scalars.get((type, token))
        if found is None:
            if _starts_type(token):
                return self._typed_literal()
            start = self.at
            found = Const(type, self._body(type))
            if self.at == start + 1 and token[0] != "@":
                self._scalars[(type, token)] = found
        else:
            self.at += 1
        return self._documented(found) if self.tokens[self.at] == "doc" else found

    def _typed_literal(self) -> Const:
        token = self.tokens[self.at]
        if not _starts_type(token):
            self.fail_expected("a literal")
        kind = self.type()
        if isinstance(kind, TupleType):
            made = Const(kind, self._body(kind))
        else:
            self.expect("(", "after the type of a literal")
            made = Const(kind, self._body(kind))
            self.expect(")", "at the end of a literal")
        return self._documented(made) if self.tokens[self.at] == "doc" else made

    def _documented(self, const: Const) -> Const:
        self.at += 1
        return const.with_doc(self.string("a string as the docstring"))

    def _body(self, kind: Type) -> Data:
        """The content of a literal whose type is known."""
        if isinstance(kind, TensorType):
            return self._tensor_body(kind)
        self._nest()
        made: Data
        if isinstance(kind, DictionaryType):
            pairs: list[tuple[Const, Const]] = []
            self.expect("{", f"at the start of a literal of type {kind}")
            while self._another("}", "an entry", bool(pairs)):
                key = self.expected_literal(kind.key)
                self.expect(":", "between a key and its value")
                pairs.append((key, self.expected_literal(kind.value)))
            made = tuple(pairs)
        elif isinstance(kind, ListType):
            items: list[Const] = []
            self.expect("[", f"at the start of a literal of type {kind}")
            while self._another("]", "an element", bool(items)):
                items.append(self.expected_literal(kind.element))
            made = tuple(items)
        elif isinstance(kind, TupleType):
            items = []
            self.expect("(", f"at the start of a literal of type {kind}")
            while self._another(")", "an element", bool(items)):
                known = len(items) < len(kind.elements)
                items.append(self.expected_literal(kind.elements[len(items)]) if known else self.literal())
            made = tuple(items)
        else:
            self.fail(f"there are no literals of type {kind}")
        self._nesting -= 1
        return made

    def _another(self, closing: str, what: str, begun: bool) -> bool:
        """Whether another element follows; moves over the comma before it, or over `closing`."""
        if begun:
            return self.more(closing, what)
        if self.tokens[self.at] == closing:
            self.at += 1
            return False
        return True

    # tensors

    def _tensor_body(self, kind: TensorType) -> Tensor:
        if not _starts_type(self.tokens[self.at]):
            return self._tensor(kind)
        start = self.at
        held = self.type()
        if not isinstance(held, TensorType):
            self.fail(f"a literal of type {kind} holds a tensor, not a {held}", start)
        self.expect("(", "after the type of a tensor")
        tensor = self._tensor(held)
        self.expect(")", "at the end of a tensor")
        return tensor

    def _tensor(self, kind: TensorType) -> Tensor:
        """The numbers of a tensor: elements, a resource, or bytes."""
        token = self.tokens[self.at]
        dtype, shape = kind.dtype, kind.shape
        if not shape and kind.rank == 0 and token[:1] != "@" and token != BASE64:
            tensor: Tensor = self._array(dtype, (), [self.at])
            self.at += 1
            return tensor
        static = self._static_shape(kind)
        if token[:1] == "@":
            return self._resource(dtype, static)
        if token == BASE64:
            return self._bytes(dtype, static)
        if prod(static) == 0:
            self.expect("[", f"at the start of the empty {kind}")
            self.expect("]", f"at the end of the empty {kind}")
            return ArrayTensor(np.empty(static, object), STRING) if dtype is STRING else PackedTensor(b"", dtype, static)
        elements: list[int] = []
        self._elements(static, 0, elements)
        return self._array(dtype, static, elements)

    def _static_shape(self, kind: TensorType) -> tuple[int, ...]:
        if not kind.is_static:
            self.fail(f"a literal of type {kind} has no shape of its own: write it as {kind}({kind.dtype}[…](…)), with the shape it has")
        shape = kind.static_shape
        if len(shape) > MAX_RANK or min(shape, default=0) < 0 or prod(size for size in shape if size) > sys.maxsize:
            self.fail(f"no array can have {f'{len(shape)} dimensions' if len(shape) > MAX_RANK else f'the shape {list(shape)}'}")
        return shape

    def _elements(self, shape: Sequence[int], axis: int, found: list[int]) -> None:
        """Moves over the brackets from `axis` on, and notes the elements' tokens. No step that the text does not pay for."""
        size = shape[axis]
        if self.tokens[self.at] != "[":
            self.fail_expected(f"[ and {size} elements along dimension {axis} of {list(shape)}")
        start = self.at
        if axis + 1 == len(shape):
            found += self._row()
            written = (self.at - start) // 2
        else:
            self.at += 1
            written = 0
            while True:
                self._elements(shape, axis + 1, found)
                written += 1
                if not self.more("]", "a row"):
                    break
        if written != size:
            self.fail(f"{size} elements are due along dimension {axis} of {list(shape)}, {written} are written", start)

    def _row(self) -> range:
        """Moves over `[a, b, …]`, whose elements are single tokens; answers with where they are."""
        tokens, start = self.tokens, self.at
        end = start + 1
        while tokens[end + 1] == ",":
            end += 2
        self.at = end + 1
        if tokens[end] == END or tokens[self.at] != "]":
            self.at = end if tokens[end] in ("]", ",", END) else self.at
            self.fail_expected("an element" if self.at == end else ", or ] after an element")
        self.at += 1
        return range(start + 1, end + 1, 2)

    def _sugared_array(self) -> Const:
        """Moves over `[1, 2]`: int32, fp32, bool or string, in the shape in which it is written."""
        tokens, start = self.tokens, self.at
        if tokens[start + 1] != "[":
            if tokens[start + 1] == "]":
                self.fail("the element type of [] cannot be told: write it like int32[0]([])")
            places = self._row()
            key = tuple(tokens[start : self.at])
            found = self._arrays.get(key)
            if found is None:
                found = self._arrays[key] = self._sugared((len(places),), places)
            return found
        shape = self._shape_ahead()
        elements: list[int] = []
        self._elements(shape, 0, elements)
        return self._sugared(shape, elements)

    def _sugared(self, shape: tuple[int, ...], elements: Sequence[int]) -> Const:
        dtype = _dtype_of_token(self.tokens[elements[0]])
        if dtype is None:
            self.fail(f"expected a number, a string, true or false as an element, not {self.tokens[elements[0]][:60]}", elements[0])
        return Const(TensorType(dtype, shape), self._array(dtype, shape, elements))

    def _shape_ahead(self) -> tuple[int, ...]:
        """The shape that nested brackets spell, told from the first row of each dimension."""
        tokens, at = self.tokens, self.at
        rank = 0
        while tokens[at + rank] == "[":
            rank += 1
        if rank > MAX_RANK:
            self.fail(f"no array can have {rank} dimensions")
        shape = [1] * rank
        depth = 0
        firsts = rank  # dimensions whose first row is still open
        while firsts:
            token = tokens[at]
            if token == END:
                self.at = at
                self.fail_expected("] at the end of an array")
            if token == "[":
                depth += 1
            elif token == "]":
                firsts = min(firsts, depth - 1)
                depth -= 1
            elif token == "," and depth <= firsts:
                shape[depth - 1] += 1
            at += 1
        return tuple(shape)

    def _array(self, dtype: DType, shape: tuple[int, ...], elements: Sequence[int]) -> ArrayTensor:
        """The tensor of the elements that stand at these tokens."""
        tokens = self.tokens
        values = [_ELEMENT[dtype.kind](tokens[at], dtype) for at in elements]
        if None in values:
            at = elements[values.index(None)]
            self.fail(_why_no_element(tokens[at], dtype), at)
        if dtype is STRING:
            array = np.empty(len(values), object)
            array[:] = values
        else:
            array = bits_array(values, dtype) if dtype.is_float else np.array(values, dtype.numpy)
        return ArrayTensor(array.reshape(shape), dtype)

    def _resource(self, dtype: DType, shape: tuple[int, ...]) -> Tensor:
        token = self.tokens[self.at]
        name = _resource_of(token)
        if name is None:
            self.fail_expected("the name of a resource")
        tensor = self._resources.get(name)
        if tensor is None:
            every = dict.fromkeys(_resource_of(t) for t in self.tokens if t[:1] == "@")
            missing = [n for n in every if n is not None and n not in self._resources]
            more = f" and {len(missing) - LISTED} more" if len(missing) > LISTED else ""
            self.fail(f"no tensor was given for {', '.join(missing[:LISTED])}{more}: pass them as resources")
        if tensor.dtype is not dtype or tensor.shape != shape:
            self.fail(f"the resource {name} is {tensor.dtype}{list(tensor.shape)}, but {dtype}{list(shape)} is due")
        self.at += 1
        return tensor

    def _bytes(self, dtype: DType, shape: tuple[int, ...]) -> Tensor:
        self.at += 1
        text = self.string("a string of base64")
        try:
            payload = binascii.a2b_base64(text, strict_mode=True)
        except ValueError as error:
            self.fail(f"this is no base64: {error}", self.at - 1)
        if dtype is STRING:
            self.fail("strings are not written as bytes", self.at - 1)
        due = packed_size(prod(shape), dtype.bits)
        if len(payload) != due:
            self.fail(f"{dtype}{list(shape)} takes {due} bytes, {len(payload)} are written", self.at - 1)
        return PackedTensor(payload, dtype, shape)

    def _nest(self) -> None:
        self._nesting += 1
        if self._nesting > MAX_DEPTH:
            self.fail(f"types and literals nest deeper than {MAX_DEPTH} levels here")


def _starts_type(token: str) -> bool:
    return token[:1].isalpha() and token not in TRUTH and token != BASE64 and not is_number(token)


def _dtype_of_token(token: str) -> DType | None:
    """The element type of a scalar that does not say it."""
    if token[:1] == '"':
        return STRING
    if token in TRUTH:
        return BOOL
    if is_integer(token):
        return INT32
    return FP32 if is_number(token) else None


def _resource_of(token: str) -> str | None:
    return unquote(token[1:]) if token[1:2] == '"' else token[1:] or None


def _string(token: str, dtype: DType) -> str | None:
    return unquote(token) if token[:1] == '"' else None


def _truth(token: str, dtype: DType) -> bool | None:
    return TRUTH.get(token)


def _whole(token: str, dtype: DType) -> int | None:
    if not is_integer(token):
        return None
    number = int(token)
    return number if dtype.minimum <= number <= dtype.maximum else None


def _real(token: str, dtype: DType) -> int | None:
    return float_bits(token, dtype) if is_number(token) else None


_ELEMENT: Final[dict[str, Any]] = {"bool": _truth, "string": _string, "float": _real, "int": _whole, "uint": _whole}
"""Reads one element of a kind; the bits of a float. None where the token is no such element."""


def _why_no_element(token: str, dtype: DType) -> str:
    shown = token if len(token) <= 60 else f"{token[:60]}…"
    if token == END:
        return f"expected an element of {dtype}, but the text ends"
    if dtype.is_integer and is_integer(token):
        return f"{shown} does not fit {dtype}, which goes from {dtype.minimum} to {dtype.maximum}; write another type, like int64({shown})"
    if dtype.is_float and is_number(token):
        return f"{shown} is no {dtype}: it is beyond its range, or no bits of a NaN"
    if token[:1] == '"' and dtype is STRING:
        return "the string does not end on its line, or has an escape that there is not"
    return f"expected an element of {dtype}, but there is {shown}"
