"""Types and literals between the protobuf and the IR.

A literal that stands in the protobuf stays encoded until someone asks for its numbers, and goes back as the bytes that it came as
(`WireTensor`). Types and literals repeat a great deal (`pad_type`, `strides`, a dtype's name), so both are looked up by their encoding
first: a program of 50,000 ops decodes a few thousand of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from math import prod
from typing import Any, Final, TypeAlias

import numpy as np

from ir.const import Const
from ir.diagnostics import PackageError
from ir.mil import schema
from ir.mil.blobs import BlobFile
from ir.packing import pack_tensor, packed_size, unpack_tensor
from ir.tensors import Array, PackedTensor, Tensor, byte_view
from ir.types import (
    BOOL,
    DTYPE_BY_PROTO,
    FP32,
    FP64,
    INT16,
    INT32,
    INT64,
    STRING,
    UINT16,
    UINT64,
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

FIELD_OF: Final = {
    BOOL: "bools", STRING: "strings", FP32: "floats", FP64: "doubles", INT32: "ints", INT16: "ints", UINT16: "ints",
    INT64: "longInts", UINT64: "longInts",
}  # fmt: skip
"""The field of `TensorValue` that holds immediate values of a type; all others are raw bytes."""

MAX_RANK: Final = 64
"""The rank that a NumPy array can have."""
_STRING_SCALAR: Final = TensorType(STRING)
_STRING_HEADS: Final = {
    n + 14: bytes((0x12, 4, 0x0A, 2, 0x08, STRING.proto, 0x1A, n + 6, 0x0A, n + 4, 0x22, n + 2, 0x0A, n)) for n in range(122)
}
"""What the encoding of a string scalar of n bytes begins with, by the length of the whole: a value (type: a tensor of strings without
dimensions; immediate value: a tensor of one string). Two thirds of a program's literals are such (the `name` of each op), and nothing
else needs to be checked of one that begins so and is as long as it says."""


class WireTensor:
    """An immediate tensor, still in the encoding of the `Value` that it came in.

    `raw` is that encoding, and `type` and `doc` are what it says besides the numbers: where a literal still has both, it goes back as
    `raw`.
    """

    __slots__ = ("_array", "doc", "raw", "shape", "type")

    def __init__(self, raw: bytes, type: TensorType, doc: str) -> None:  # noqa: A002
        self.raw = raw
        self.type = type
        self.doc = doc
        self.shape: tuple[int, ...] = type.shape  # type: ignore[assignment]  # a literal has no unknown dimension: checked on the way in
        self._array: Array | None = None

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def nbytes(self) -> int:
        return packed_size(prod(self.shape), self.dtype.bits)

    def numpy(self) -> Array:
        if self._array is None:
            value = schema.new_value()
            value.ParseFromString(self.raw)
            self._array = _array_of(value.immediateValue.tensor, self.type)
            self._array.flags.writeable = False
        return self._array

    def payload(self) -> memoryview:
        return byte_view(pack_tensor(self.numpy(), self.dtype))

    def write_to(self, file: Any) -> int:
        written: int = file.write(self.payload())
        return written

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedTensor, (bytes(self.payload()), self.dtype, self.shape)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.type!r}>"


class Decoder:
    """Types and literals of one model, out of its protobuf.

    `weight_file` finds the weight file that a `fileName` means.
    """

    def __init__(self, weight_file: Callable[[str], BlobFile]) -> None:
        self._weight_file = weight_file
        self._types: dict[bytes, Type] = {}
        self._consts: dict[bytes, Const] = {}

    def type(self, message: schema.ValueType) -> Type:
        """The type that a `ValueType` means.

        Raises:
            PackageError: it has no kind, a dimension without a size, or an element type that the format does not define.
        """
        raw = message.SerializeToString()
        found = self._types.get(raw)
        if found is None:
            found = self._types[raw] = self._decode_type(message)
        return found

    def const(self, message: schema.Value) -> Const:
        """The literal that a `Value` means; equal ones are one object, but for single strings: most of those are names of ops.

        What is a single number is read at once, since it is one of a few, and rules ask for it (`Op.sources`); other tensors wait.

        Raises:
            PackageError: it has no content, or content that disagrees with its type; or its blob is not what the type says.
        """
        raw = message.SerializeToString()
        if raw[:14] == _STRING_HEADS.get(len(raw)):
            return Const(_STRING_SCALAR, WireTensor(raw, _STRING_SCALAR, ""))
        found = self._consts.get(raw)
        if found is None:
            found = self._consts[raw] = self._decode_const(message, raw)
        return found

    def _decode_type(self, message: schema.ValueType) -> Type:
        kind = message.WhichOneof("type")
        if kind == "tensorType":
            return self._decode_tensor_type(message.tensorType)
        if kind == "listType":
            return ListType(self.type(message.listType.type), _dimension(message.listType.length))
        if kind == "tupleType":
            return TupleType(self.type(t) for t in message.tupleType.types)
        if kind == "dictionaryType":
            return DictionaryType(self.type(message.dictionaryType.keyType), self.type(message.dictionaryType.valueType))
        if kind == "stateType":
            return StateType(self.type(message.stateType.wrappedType))
        raise PackageError("a type without a kind: neither tensor, list, tuple, dictionary nor state")

    def _decode_tensor_type(self, message: Any) -> TensorType:
        dtype = DTYPE_BY_PROTO.get(message.dataType)
        if dtype is None:
            raise PackageError(f"element type {message.dataType} is none that the format defines")
        attributes = tuple(sorted(((k, self.const(v)) for k, v in message.attributes.items()), key=lambda item: item[0]))
        return TensorType(dtype, map(_dimension, message.dimensions), message.rank, attributes)

    def _decode_const(self, message: schema.Value, raw: bytes) -> Const:
        kind = self.type(message.type)
        doc = message.docString
        where = message.WhichOneof("value")
        if where == "blobFileValue":
            blob = message.blobFileValue
            static = _static_tensor_type(kind)
            return Const(kind, self._weight_file(blob.fileName).tensor(blob.offset, static.dtype, static.static_shape), doc)
        if where is None:
            raise PackageError(f"a literal of type {kind} has neither an immediate value nor a blob")
        value = message.immediateValue
        content = value.WhichOneof("value")
        if isinstance(kind, TensorType) and content in ("tensor", None):
            static = _static_tensor_type(kind)
            _check_tensor(value.tensor, static)
            const = Const(kind, WireTensor(raw, static, doc), doc)
            with suppress(PackageError):  # whoever asks for it will be told
                const.scalar()
            return const
        if isinstance(kind, ListType | TupleType) and content == ("list" if isinstance(kind, ListType) else "tuple"):
            return Const(kind, tuple(self.const(v) for v in getattr(value, content).values), doc)
        if isinstance(kind, DictionaryType) and content == "dictionary":
            return Const(kind, tuple((self.const(pair.key), self.const(pair.value)) for pair in value.dictionary.values), doc)
        raise PackageError(f"a literal of type {kind} holds a {content or 'nothing'}")


BlobOf: TypeAlias = "Callable[[Tensor], tuple[str, int] | None]"


class Encoder:
    """Types and literals of one program, into protobuf.

    `blob_of` says where a tensor lies in a weight file (file name, offset of its record); None for one that stays in the protobuf.
    `kept_blob_of` says it of those only that lay in a file already.
    """

    def __init__(self, blob_of: BlobOf, kept_blob_of: BlobOf = lambda tensor: None) -> None:
        self._blob_of = blob_of
        self._kept_blob_of = kept_blob_of
        self._types: dict[Type, bytes] = {}
        self._inline: Encoder | None = None

    def type(self, kind: Type) -> bytes:
        """The encoding of a type's `ValueType`."""
        found = self._types.get(kind)
        if found is None:
            message = schema.new_value_type()
            self._fill_type(message, kind)
            found = self._types[kind] = message.SerializeToString(deterministic=True)
        return found

    def const(self, const: Const) -> bytes:
        """The encoding of a literal's `Value`."""
        data = const.data
        if data.__class__ is WireTensor and data.type is const.type and data.doc == const.doc:
            return data.raw
        message = schema.new_value()
        message.docString = const.doc
        message.type.MergeFromString(self.type(const.type))
        if not isinstance(data, tuple):
            self._fill_tensor(message, data)
        elif isinstance(const.type, DictionaryType):
            message.immediateValue.dictionary.SetInParent()
            for key, value in const.pairs:
                pair = message.immediateValue.dictionary.values.add()
                pair.key.MergeFromString(self.const(key))
                pair.value.MergeFromString(self.const(value))
        else:
            content = message.immediateValue.list if isinstance(const.type, ListType) else message.immediateValue.tuple
            content.SetInParent()
            for item in const.items:
                content.values.add().MergeFromString(self.const(item))
        return message.SerializeToString(deterministic=True)

    def immediate(self, const: Const) -> bytes:
        """As `const`, with all values in the encoding but those that lay in a weight file already."""
        if self._inline is None:
            self._inline = Encoder(self._kept_blob_of)
        return self._inline.const(const)

    def _fill_tensor(self, message: schema.Value, tensor: Tensor) -> None:
        blob = self._blob_of(tensor)
        if blob is None:
            message.immediateValue.tensor.MergeFromString(_tensor_value(tensor))
            message.immediateValue.tensor.SetInParent()
            return
        message.blobFileValue.fileName, message.blobFileValue.offset = blob

    def _fill_type(self, message: schema.ValueType, kind: Type) -> None:
        if isinstance(kind, TensorType):
            tensor = message.tensorType
            tensor.dataType = kind.dtype.proto
            tensor.rank = kind.rank
            tensor.SetInParent()
            for dim in kind.shape:
                _fill_dimension(tensor.dimensions.add(), dim)
            for name, value in kind.attributes:
                tensor.attributes[name].MergeFromString(self.const(value))
        elif isinstance(kind, ListType):
            self._fill_type(message.listType.type, kind.element)
            _fill_dimension(message.listType.length, kind.length)
        elif isinstance(kind, TupleType):
            message.tupleType.SetInParent()
            for element in kind.elements:
                self._fill_type(message.tupleType.types.add(), element)
        elif isinstance(kind, DictionaryType):
            self._fill_type(message.dictionaryType.keyType, kind.key)
            self._fill_type(message.dictionaryType.valueType, kind.value)
        elif isinstance(kind, StateType):
            self._fill_type(message.stateType.wrappedType, kind.wrapped)


def _dimension(message: Any) -> Dim:
    kind = message.WhichOneof("dimension")
    if kind == "constant":
        size: int = message.constant.size
        return size
    if kind == "unknown":
        return VARIADIC if message.unknown.variadic else UNKNOWN
    raise PackageError("a dimension that is neither constant nor unknown")


def _fill_dimension(message: Any, dim: Dim) -> None:
    if isinstance(dim, int):
        message.constant.size = dim
        message.constant.SetInParent()
        return
    message.unknown.variadic = dim.variadic
    message.unknown.SetInParent()


def _static_tensor_type(kind: Type) -> TensorType:
    if not isinstance(kind, TensorType):
        raise PackageError(f"a literal of type {kind} cannot be stored as a tensor")
    if not kind.is_static:
        raise PackageError(f"a literal of type {kind} has a dimension that is not known: its size cannot be told")
    if len(kind.shape) > MAX_RANK or prod(d for d in kind.static_shape if d) > sys.maxsize:
        raise PackageError(f"a literal with {len(kind.shape)} dimensions, {kind.shape[:4]} …: no array can have them")
    return kind


def _check_tensor(message: Any, kind: TensorType) -> None:
    """Whether an immediate tensor holds as many values as its type says, in a field that can hold them."""
    count = prod(kind.static_shape)
    field = message.WhichOneof("value")
    if field is None:
        found = 0
    elif field == "bytes":
        expected = packed_size(count, kind.dtype.bits) if kind.dtype.bits else -1
        found = count if len(message.bytes.values) == expected else -1
    else:
        found = len(getattr(message, field).values)
    if found != count:
        raise PackageError(f"a literal of type {kind} holds {'other bytes' if found < 0 else f'{found} values'} where {count} are due")
    if field is not None and (field == "strings") != (kind.dtype is STRING):
        raise PackageError(f"a literal of type {kind} holds {field}")
    if count and not field:
        raise PackageError(f"a literal of type {kind} holds no values")


def _array_of(message: Any, kind: TensorType) -> Array:
    """The values of an immediate tensor, exactly: floats keep their bits, NaN payloads too."""
    dtype, shape = kind.dtype, kind.static_shape
    field = message.WhichOneof("value")
    if field == "strings":
        array = np.empty(len(message.strings.values), object)
        array[:] = list(message.strings.values)
        return array.reshape(shape)
    if field == "bytes":
        return unpack_tensor(np.frombuffer(message.bytes.values, np.uint8), dtype, shape).copy()
    if field in ("floats", "doubles"):
        held = getattr(message, field)
        count = len(held.values)
        plain = np.float32 if field == "floats" else np.float64
        # A packed field ends with its values, so their bits can be had without a detour through Python's floats, which quiet NaNs.
        bits = held.SerializeToString()[-count * np.dtype(plain).itemsize :] if count else b""
        return np.frombuffer(bits, plain).astype(dtype.numpy).reshape(shape)
    wide = np.array(list(getattr(message, field).values) if field else [], np.bool_ if field == "bools" else np.int64)
    if dtype is UINT64:
        return wide.view(np.uint64).reshape(shape)
    if dtype.is_integer and wide.size and (int(wide.min()) < dtype.minimum or int(wide.max()) > dtype.maximum):
        raise PackageError(f"a literal of type {kind} holds values from {wide.min()} to {wide.max()}, outside {dtype}")
    return wide.astype(dtype.numpy).reshape(shape)


def _tensor_value(tensor: Tensor) -> bytes:
    """The encoding of a `TensorValue`: the values in the field that is theirs."""
    message = schema.new_value().immediateValue.tensor
    field = FIELD_OF.get(tensor.dtype, "bytes")
    if field == "bytes":
        message.bytes.values = bytes(tensor.payload())
    elif field in ("floats", "doubles"):
        payload = bytes(tensor.payload())
        held = getattr(message, field)
        held.MergeFromString(b"\x0a" + _varint(len(payload)) + payload)
        held.SetInParent()
    else:
        values = tensor.numpy().reshape(-1)
        held = getattr(message, field)
        held.values.extend((values.view(np.int64) if tensor.dtype is UINT64 else values).tolist())
        held.SetInParent()
    encoded: bytes = message.SerializeToString()
    return encoded


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
