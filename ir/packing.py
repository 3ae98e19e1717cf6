"""Sub-byte packing, as weight files and protobuf hold it.

Element i of an n-bit type occupies bits [i·n, (i+1)·n) of a little-endian bit stream (least significant bit first), so 3- and 6-bit
elements straddle bytes. `int4` is two's complement. The last byte's unused bits are zero when we write, and ignored when we read.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ir.types import DType

Bytes: TypeAlias = npt.NDArray[np.uint8]

CHUNK = 1 << 20
"""Elements worked on at a time; a multiple of 8, so that chunks meet at byte boundaries, and small enough to stay in cache."""


def packed_size(count: int, bits: int) -> int:
    """The bytes that `count` elements of `bits` bits take."""
    return (count * bits + 7) // 8


def pack(values: npt.NDArray[Any], bits: int) -> Bytes:
    """Packs the low `bits` bits of each element (1 to 8), in C order."""
    flat = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    if bits == 8:
        return flat
    out = np.empty(packed_size(flat.size, bits), np.uint8)
    for start in range(0, flat.size, CHUNK):
        part = _pack_chunk(flat[start : start + CHUNK], bits)
        first = start * bits // 8
        out[first : first + part.size] = part
    return out


def unpack(packed: Bytes, bits: int, count: int, *, signed: bool = False) -> npt.NDArray[Any]:
    """The inverse of `pack`: `count` elements, one byte each, sign-extended where `signed`."""
    if bits == 8:
        return packed[:count].view(np.int8) if signed else packed[:count]
    out: Bytes = np.empty(count, np.uint8)
    for start in range(0, count, CHUNK):
        n = min(CHUNK, count - start)
        first = start * bits // 8
        out[start : start + n] = _unpack_chunk(packed[first : first + packed_size(n, bits)], bits)[:n]
    if not signed:
        return out
    shift = 8 - bits
    widened: npt.NDArray[np.int8] = (out << shift).view(np.int8)
    widened >>= shift
    return widened


def pack_tensor(values: npt.NDArray[Any], dtype: DType) -> Bytes:
    """The bytes that hold `values` as `dtype` in a file: packed where sub-byte, little-endian."""
    if dtype.is_subbyte:
        return pack(values, dtype.bits)
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


def unpack_tensor(data: Bytes, dtype: DType, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The inverse of `pack_tensor`; a view of `data` where nothing is packed."""
    if not dtype.is_subbyte:
        return data.view(dtype.numpy).reshape(shape)
    return unpack(data, dtype.bits, math.prod(shape), signed=dtype.kind == "int").reshape(shape)


def _pack_chunk(flat: Bytes, bits: int) -> Bytes:
    if bits == 1:
        return np.packbits(flat & 1, bitorder="little")
    lanes = 8 // math.gcd(8, bits)
    size = packed_size(flat.size, bits)
    if flat.size % lanes:
        flat = np.concatenate([flat, np.zeros(-flat.size % lanes, np.uint8)])
    rows = (flat & np.uint8((1 << bits) - 1)).reshape(-1, lanes)
    if bits in (2, 4):
        out: Bytes = rows[:, 0].copy()
        for lane in range(1, lanes):
            out |= rows[:, lane] << (lane * bits)
        return out[:size]
    word: npt.NDArray[np.uint32] = np.zeros(rows.shape[0], np.uint32)
    for lane in range(lanes):
        word |= rows[:, lane].astype(np.uint32) << (lane * bits)
    return np.ascontiguousarray(word.view(np.uint8).reshape(-1, 4)[:, :3]).reshape(-1)[:size]


def _unpack_chunk(packed: Bytes, bits: int) -> Bytes:
    if bits == 1:
        return np.unpackbits(packed, bitorder="little")
    lanes = 8 // math.gcd(8, bits)
    mask = np.uint8((1 << bits) - 1)
    if bits in (2, 4):
        out = np.empty((packed.size, lanes), np.uint8)
        for lane in range(lanes):
            out[:, lane] = (packed >> (lane * bits)) & mask
        return out.reshape(-1)
    whole = np.zeros((-(-packed.size // 3), 4), np.uint8)
    padded = np.concatenate([packed, np.zeros(-packed.size % 3, np.uint8)]).reshape(-1, 3)
    whole[:, :3] = padded
    word = whole.view(np.uint32).reshape(-1)
    out = np.empty((word.size, lanes), np.uint8)
    for lane in range(lanes):
        out[:, lane] = (word >> (lane * bits)).astype(np.uint8) & mask
    return out.reshape(-1)
