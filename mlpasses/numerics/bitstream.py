"""Codes of a few bits, packed as they come: element i of n bits takes bits [i·n, (i+1)·n) of a little-endian stream (`ir.packing`).

This module is the NumPy reference; `bitstream_kernels` has `pack` compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from ir import packing

Bytes: TypeAlias = npt.NDArray[np.uint8]
Pack: TypeAlias = Callable[[Bytes, int, Bytes], None]
"""`pack(codes, bits, out)` packs the low `bits` bits (1, 2, 3, 4 or 6) of a multiple of 8 codes, and fills `out`."""
Emit: TypeAlias = Callable[[int, npt.NDArray[Any]], None]

GROUP: Final = 8
"""Codes that fill whole bytes, whatever their bits."""


def pack(codes: Bytes, bits: int, out: Bytes) -> None:
    """Fills `out` with packed codes: on one core 15 GB/s of codes of 1 bit, 2 GB/s of 2 and 4, 0.9 of 3, 0.6 of 6."""
    out[...] = packing.pack(codes, bits)


class Packer:
    """Takes the codes of one weight, one byte each (uint8 or int8), in order and in chunks of any length, and hands on packed bytes.

    `packer(position, codes)` has the shape of the `emit` of the quantizers; `position` counts elements. `emit(position, bytes)` counts
    bytes; its array is contiguous uint8, and is used again. Up to 7 codes wait for the next chunk, and `finish` hands on the last of them,
    in a byte whose other bits are 0. Codes of 8 bits go through as they are.
    """

    def __init__(self, bits: int, pack: Pack, emit: Emit) -> None:
        self._bits = bits
        self._pack = pack
        self._emit = emit
        self._position = 0
        self._waiting: Bytes = np.empty(0, np.uint8)
        self._buffer: Bytes = np.empty(0, np.uint8)

    def __call__(self, position: int, codes: npt.NDArray[Any]) -> None:
        """Takes the next codes.

        Raises:
            ValueError: they are not the next.
        """
        if position != self._position:
            raise ValueError(f"codes come in order: {self._position} is next, and {position} came")
        fresh = np.ascontiguousarray(codes).reshape(-1).view(np.uint8)
        self._position += fresh.size
        if self._bits == 8:
            self._emit(position, fresh)
            return
        start = position - self._waiting.size
        if self._waiting.size:
            fresh = np.concatenate([self._waiting, fresh])
        whole = fresh.size - fresh.size % GROUP
        self._waiting = fresh[whole:].copy()
        if whole:
            self._hand_on(start, fresh[:whole])

    def finish(self) -> None:
        """Hands on what still waits. To be called once, after the last codes."""
        count = self._waiting.size
        if count:
            group = np.zeros(GROUP, np.uint8)
            group[:count] = self._waiting
            self._waiting = self._waiting[:0]
            self._hand_on(self._position - count, group, packing.packed_size(count, self._bits))

    def _hand_on(self, start: int, codes: Bytes, used: int | None = None) -> None:
        size = codes.size * self._bits // 8
        if self._buffer.size < size:
            self._buffer = np.empty(size, np.uint8)
        out = self._buffer[:size]
        self._pack(codes, self._bits, out)
        self._emit(start * self._bits // 8, out[:used])
