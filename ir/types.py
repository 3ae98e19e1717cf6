"""The types of MIL: element types, tensors, lists, tuples, dictionaries and states.

Types are immutable and interned: two equal types are one object, so a comparison is an identity check and a program of 50,000 ops
holds a few hundred of them. They print in MIL's own words, `fp16[1, 3, ?]`, and `ir.text` parses the same back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeAlias
from weakref import WeakValueDictionary

import ml_dtypes
import numpy as np
import numpy.typing as npt
from attrs import field, frozen

if TYPE_CHECKING:
    from ir.const import Const

Kind: TypeAlias = Literal["bool", "string", "float", "int", "uint"]


@frozen(eq=False, repr=False)
class DType:
    """An element type: one row of the format's table.

    `numpy` is the dtype of `Tensor.numpy()`: one element each, so the sub-byte types use a whole byte there and are packed only in
    files. `proto` is the number in `MIL.proto`'s `DataType`; `blob` that of the weight file's `BlobDataType`, None where the file
    has no such type.
    """

    name: str
    kind: Kind
    bits: int
    numpy: npt.DTypeLike
    proto: int
    blob: int | None
    is_float: bool = field(init=False)
    is_integer: bool = field(init=False)
    is_subbyte: bool = field(init=False)
    """Packed in files: fewer than eight bits an element (bool is a byte, or a field of the protobuf)."""

    def __attrs_post_init__(self) -> None:  # once for each of two dozen rows, and asked for of every literal
        object.__setattr__(self, "numpy", np.dtype(self.numpy))  # no converter: attrs would parse the signature of NumPy's, in 3 ms
        integer = self.kind in ("int", "uint")
        object.__setattr__(self, "is_float", self.kind == "float")
        object.__setattr__(self, "is_integer", integer)
        object.__setattr__(self, "is_subbyte", integer and self.bits < 8)

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return (dtype_named, (self.name,))

    @property
    def minimum(self) -> int:
        """The least value of an integer type."""
        return -(1 << (self.bits - 1)) if self.kind == "int" else 0

    @property
    def maximum(self) -> int:
        """The greatest value of an integer type."""
        return (1 << (self.bits - 1)) - 1 if self.kind == "int" else (1 << self.bits) - 1


BOOL: Final = DType("bool", "bool", 8, np.bool_, 1, None)
STRING: Final = DType("string", "string", 0, np.object_, 2, None)
FP16: Final = DType("fp16", "float", 16, np.float16, 10, 1)
FP32: Final = DType("fp32", "float", 32, np.float32, 11, 2)
FP64: Final = DType("fp64", "float", 64, np.float64, 12, None)
BF16: Final = DType("bf16", "float", 16, ml_dtypes.bfloat16, 13, 5)
INT8: Final = DType("int8", "int", 8, np.int8, 21, 4)
INT16: Final = DType("int16", "int", 16, np.int16, 22, 6)
INT32: Final = DType("int32", "int", 32, np.int32, 23, 14)
INT64: Final = DType("int64", "int", 64, np.int64, 24, None)
INT4: Final = DType("int4", "int", 4, np.int8, 25, 8)
UINT8: Final = DType("uint8", "uint", 8, np.uint8, 31, 3)
UINT16: Final = DType("uint16", "uint", 16, np.uint16, 32, 7)
UINT32: Final = DType("uint32", "uint", 32, np.uint32, 33, 15)
UINT64: Final = DType("uint64", "uint", 64, np.uint64, 34, None)
UINT4: Final = DType("uint4", "uint", 4, np.uint8, 35, 11)
UINT2: Final = DType("uint2", "uint", 2, np.uint8, 36, 10)
UINT1: Final = DType("uint1", "uint", 1, np.uint8, 37, 9)
UINT6: Final = DType("uint6", "uint", 6, np.uint8, 38, 13)
UINT3: Final = DType("uint3", "uint", 3, np.uint8, 39, 12)
FP8E4M3FN: Final = DType("fp8e4m3fn", "float", 8, ml_dtypes.float8_e4m3fn, 40, 16)
FP8E5M2: Final = DType("fp8e5m2", "float", 8, ml_dtypes.float8_e5m2, 41, 17)

DTYPES: Final[tuple[DType, ...]] = (
    BOOL, STRING, FP16, FP32, FP64, BF16, INT8, INT16, INT32, INT64, INT4, UINT8, UINT16, UINT32, UINT64,
    UINT4, UINT2, UINT1, UINT6, UINT3, FP8E4M3FN, FP8E5M2,
)  # fmt: skip
DTYPE_BY_NAME: Final = {d.name: d for d in DTYPES}
DTYPE_BY_PROTO: Final = {d.proto: d for d in DTYPES}
DTYPE_BY_BLOB: Final = {d.blob: d for d in DTYPES if d.blob is not None}
_DTYPE_BY_NUMPY: Final = {d.numpy: d for d in DTYPES if not d.is_subbyte}
UINT_BY_BITS: Final = {1: UINT1, 2: UINT2, 3: UINT3, 4: UINT4, 6: UINT6, 8: UINT8}
"""The index types of a look-up table, by `nbits`."""


def dtype_named(name: str) -> DType:
    """The element type that MIL's text calls `name`."""
    return DTYPE_BY_NAME[name]


def dtype_of(array: npt.NDArray[Any]) -> DType:
    """The element type of a NumPy array (never a sub-byte one: those are a statement about storage, not about the array)."""
    found = _DTYPE_BY_NUMPY.get(array.dtype.newbyteorder("="))
    if found is not None:
        return found
    if array.dtype.kind in "UO":
        return STRING
    raise TypeError(f"MIL has no element type for NumPy's {array.dtype}")


@frozen(repr=False)
class UnknownDim:
    """A dimension that is not known before run time; a variadic one stands for any number of them."""

    variadic: bool = False

    def __repr__(self) -> str:
        return "*" if self.variadic else "?"


UNKNOWN: Final = UnknownDim()
VARIADIC: Final = UnknownDim(variadic=True)
Dim: TypeAlias = int | UnknownDim
Shape: TypeAlias = tuple[Dim, ...]
TypeAttributes: TypeAlias = "tuple[tuple[str, Const], ...]"


_INTERNING: Final = Lock()
"""Held while a type is made: two threads that make one at a time must get the same."""


class Type:
    """Base of all types. Instances are interned by their fields, hence equal exactly where identical."""

    __slots__ = ("__weakref__",)
    _interned: ClassVar[WeakValueDictionary[tuple[Any, ...], Type]] = WeakValueDictionary()

    @classmethod
    def _intern(cls, *fields: Any) -> Any:
        key = (cls, *fields)
        found = Type._interned.get(key)
        if found is not None:
            return found
        with _INTERNING:
            found = Type._interned.get(key)
            if found is None:
                found = object.__new__(cls)
                for name, value in zip(cls.__slots__, (*fields, *cls._derived(*fields)), strict=True):
                    object.__setattr__(found, name, value)
                Type._interned[key] = found
            return found

    @classmethod
    def _derived(cls, *fields: Any) -> tuple[Any, ...]:
        """The values of the slots behind those of the fields: what follows from them, computed once."""
        return ()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: make another one instead of setting {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), tuple(getattr(self, name) for name in self.__slots__))

    def __copy__(self) -> Type:
        return self

    def __deepcopy__(self, memo: object) -> Type:
        return self


class TensorType(Type):
    """`fp16[1, 3, ?]`: elements of one `dtype` in a shape. A scalar has the shape `()`.

    `rank` is what the file states: the number of dimensions, or -1 where the rank itself is unknown. `attributes` are the type's own
    (name, value) pairs, sorted by name.
    """

    __slots__ = ("dtype", "shape", "rank", "attributes", "is_static")
    dtype: DType
    shape: Shape
    rank: int
    attributes: TypeAttributes
    is_static: bool
    """Whether every dimension is a number."""

    def __new__(
        cls, dtype: DType, shape: Iterable[Dim] = (), rank: int | None = None, attributes: TypeAttributes = ()
    ) -> TensorType:
        dims = tuple(shape)
        made: TensorType = cls._intern(dtype, dims, len(dims) if rank is None else rank, attributes)
        return made

    @classmethod
    def _derived(cls, *fields: Any) -> tuple[bool]:
        _, shape, rank, _ = fields
        return (rank == len(shape) and all(isinstance(dim, int) for dim in shape),)

    def __reduce__(self) -> tuple[Any, ...]:
        return TensorType, (self.dtype, self.shape, self.rank, self.attributes)

    @property
    def static_shape(self) -> tuple[int, ...]:
        """The shape as numbers.

        Raises:
            ValueError: a dimension is unknown.
        """
        if not self.is_static:
            raise ValueError(f"{self} has an unknown dimension")
        return self.shape  # type: ignore[return-value]  # all are numbers: `is_static`

    @property
    def numel(self) -> int | None:
        """The number of elements; None where a dimension is unknown."""
        return math.prod(self.static_shape) if self.is_static else None

    def with_dtype(self, dtype: DType) -> TensorType:
        return TensorType(dtype, self.shape, self.rank, self.attributes)

    def with_shape(self, shape: Iterable[Dim]) -> TensorType:
        return TensorType(self.dtype, shape, None, self.attributes)

    def __repr__(self) -> str:
        dims = "" if not self.shape and self.rank == 0 else f"[{', '.join(map(repr, self.shape))}]"
        rank = "" if self.rank == len(self.shape) else f" rank {self.rank}"
        attributes = "".join(f", {name} = {value!r}" for name, value in self.attributes)
        return f"{self.dtype}{dims}{rank}{f' {{{attributes[2:]}}}' if attributes else ''}"


class ListType(Type):
    """`list<fp32[4], ?>`: a list of one element type, of known or unknown length."""

    __slots__ = ("element", "length")
    element: Type
    length: Dim

    def __new__(cls, element: Type, length: Dim = UNKNOWN) -> ListType:
        made: ListType = cls._intern(element, length)
        return made

    def __repr__(self) -> str:
        return f"list<{self.element!r}, {self.length!r}>"


class TupleType(Type):
    """`tuple<fp16[1], int32>`: a fixed sequence of types."""

    __slots__ = ("elements",)
    elements: tuple[Type, ...]

    def __new__(cls, elements: Iterable[Type] = ()) -> TupleType:
        made: TupleType = cls._intern(tuple(elements))
        return made

    def __repr__(self) -> str:
        return f"tuple<{', '.join(map(repr, self.elements))}>"


class DictionaryType(Type):
    """`dict<string, fp32>`: an unordered map."""

    __slots__ = ("key", "value")
    key: Type
    value: Type

    def __new__(cls, key: Type, value: Type) -> DictionaryType:
        made: DictionaryType = cls._intern(key, value)
        return made

    def __repr__(self) -> str:
        return f"dict<{self.key!r}, {self.value!r}>"


class StateType(Type):
    """`state<fp16[1, 8]>`: a buffer that lives from one prediction to the next."""

    __slots__ = ("wrapped",)
    wrapped: Type

    def __new__(cls, wrapped: Type) -> StateType:
        made: StateType = cls._intern(wrapped)
        return made

    def __repr__(self) -> str:
        return f"state<{self.wrapped!r}>"
