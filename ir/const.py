"""`Const`: a literal value of MIL, what the protobuf calls `Value`.

A literal is a tensor, or a tuple, list or dictionary of literals; it has a type and may have a docstring. Literals are immutable and may
be shared freely: between attributes, operands, and clones of a program.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt

from ir.tensors import Array, ArrayTensor, Tensor, fingerprint, same_tensor
from ir.types import BOOL, FP32, INT32, STRING, DictionaryType, Dim, DType, ListType, TensorType, TupleType, Type, dtype_of

Data: TypeAlias = "Tensor | tuple[Const, ...] | tuple[tuple[Const, Const], ...]"
Python: TypeAlias = "str | bool | int | float | Sequence[Any] | npt.NDArray[Any] | np.generic"


_PYTHON: Final = (str, bool, int, float, list, tuple, np.ndarray, np.generic)

_SCALARS: Final = {str: TensorType(STRING), bool: TensorType(BOOL), int: TensorType(INT32), float: TensorType(FP32)}
"""The types of literals that are one Python value."""

UNREAD: Final = object()
"""In place of a scalar that nobody has asked for yet."""


class Const:
    """A literal: a `type`, its `data`, and a docstring.

    `data` is a `Tensor` where the type is a tensor's, a tuple of literals for a tuple or a list, and a tuple of pairs for a dictionary.
    Equality is structural and exact: tensors are compared bit for bit.
    """

    __slots__ = ("_hash", "_scalar", "data", "doc", "type")

    type: Type
    data: Data
    doc: str
    _hash: int
    _scalar: Any

    def __init__(self, type: Type, data: Data, doc: str = "") -> None:  # noqa: A002
        self.type = type
        self.data = data
        self.doc = doc
        self._scalar = UNREAD

    @staticmethod
    def of(value: Python | Tensor, dtype: DType | None = None) -> Const:
        """The literal that a Python or NumPy value, or a tensor, stands for.

        `True` is a bool, `3` an int32, `0.5` an fp32, `"same"` a string, `[1, 1]` an int32[2]; an array keeps its dtype. `dtype`
        overrides, and converts numbers.

        Raises:
            TypeError: MIL has no element type for the value.
        """
        scalar = _SCALARS.get(value.__class__) if dtype is None else None
        if scalar is not None:  # most literals that are made: names, flags, axes
            return Const._holding(np.array(value, scalar.dtype.numpy), scalar)
        if _is_tensor(value):
            return Const(TensorType(value.dtype, value.shape), value)
        kind = dtype if dtype is not None else _dtype_of_python(value)
        if kind is STRING:
            array = np.empty(np.shape(value), object)
            array[...] = value
        else:
            array = np.asarray(value, dtype=kind.numpy)
        return Const._holding(array, TensorType(kind, array.shape))

    @staticmethod
    def _holding(array: Array, kind: TensorType) -> Const:
        made = Const(kind, ArrayTensor(array, kind.dtype))
        made._scalar = array.item() if array.size == 1 else None
        return made

    @staticmethod
    def list_of(values: Iterable[Const], element: Type, length: Dim | None = None) -> Const:
        """A list literal; its length is the number of `values` unless stated."""
        items = tuple(values)
        return Const(ListType(element, len(items) if length is None else length), items)

    @staticmethod
    def tuple_of(values: Iterable[Const]) -> Const:
        items = tuple(values)
        return Const(TupleType(v.type for v in items), items)

    @staticmethod
    def dict_of(values: Iterable[tuple[Const, Const]], key: Type, value: Type) -> Const:
        return Const(DictionaryType(key, value), tuple(values))

    @property
    def is_tensor(self) -> bool:
        return isinstance(self.type, TensorType)

    @property
    def tensor(self) -> Tensor:
        """The data of a tensor literal.

        Raises:
            TypeError: the literal is a tuple, list or dictionary.
        """
        if isinstance(self.data, tuple):
            raise TypeError(f"a literal of type {self.type} is no tensor")
        return self.data

    @property
    def items(self) -> tuple[Const, ...]:
        """The elements of a tuple or list literal.

        Raises:
            TypeError: the literal is a tensor or a dictionary.
        """
        if not isinstance(self.data, tuple) or isinstance(self.type, DictionaryType):
            raise TypeError(f"a literal of type {self.type} has no sequence of elements")
        return self.data  # type: ignore[return-value]  # pairs are a dictionary's, excluded above

    @property
    def pairs(self) -> tuple[tuple[Const, Const], ...]:
        """The entries of a dictionary literal.

        Raises:
            TypeError: the literal is no dictionary.
        """
        if not isinstance(self.type, DictionaryType) or not isinstance(self.data, tuple):
            raise TypeError(f"a literal of type {self.type} has no entries")
        return self.data  # type: ignore[return-value]

    def numpy(self) -> Array:
        """The elements of a tensor literal, read-only."""
        return self.tensor.numpy()

    def item(self) -> Any:
        """A tensor literal of one element as a Python `bool`, `int`, `float` or `str`."""
        return self.tensor.numpy().item()

    def scalar(self) -> Any:
        """The only element of a tensor literal as `item` gives it; None where it has several or none, or is no tensor. Read once."""
        if self._scalar is UNREAD:
            kind = self.type
            single = isinstance(kind, TensorType) and (kind.shape == () or all(dim == 1 for dim in kind.shape))
            self._scalar = self.item() if single else None
        return self._scalar

    def with_doc(self, doc: str) -> Const:
        return Const(self.type, self.data, doc)

    def __reduce__(self) -> tuple[Any, ...]:
        return Const, (self.type, self.data, self.doc)  # what is known of it besides holds in this process only

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Const) or self.type is not other.type or self.doc != other.doc:
            return False
        if isinstance(self.data, tuple) or isinstance(other.data, tuple):
            return bool(self.data == other.data)
        return same_tensor(self.data, other.data)

    def __hash__(self) -> int:
        try:
            return self._hash
        except AttributeError:
            data = self.data
            self._hash = hash((self.type, data if isinstance(data, tuple) else fingerprint(data)))
            return self._hash

    def __repr__(self) -> str:
        from ir.text import print_const  # the printer knows literals, literals do not know the printer

        return print_const(self)


def _is_tensor(value: object) -> TypeGuard[Tensor]:
    """`isinstance(value, Tensor)`, which of a protocol takes 20 µs under Python 3.11."""
    return not isinstance(value, _PYTHON) and hasattr(value, "payload") and hasattr(value, "write_to")


def _dtype_of_python(value: Any) -> DType:
    if isinstance(value, np.ndarray | np.generic):
        return dtype_of(np.asarray(value))
    first = value
    while isinstance(first, list | tuple):
        if not first:
            raise TypeError("the element type of an empty sequence has to be stated")
        first = first[0]
    if isinstance(first, list | tuple | np.ndarray | np.generic):
        return dtype_of(np.asarray(value))
    for python, dtype in ((str, STRING), (bool, BOOL), (int, INT32), (float, FP32)):
        if isinstance(first, python):
            if dtype is INT32 and np.asarray(value).dtype.kind == "f":
                return FP32
            return dtype
    raise TypeError(f"no literal of MIL stands for {value!r} of type {type(value).__name__}")
