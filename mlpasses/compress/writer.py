"""Where a job writes its results, and lays out what it needs as arrays: its places in the store, and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import frozen

from ir import flows
from ir.flows import Flow, Stored
from ir.tensors import Array, Tensor
from ir.types import DType
from mlpasses.compress.bands import ELEMENTS
from mlpasses.scratch import Store


@frozen
class Part:
    """One tensor of a result: its type and shape."""

    dtype: DType
    shape: tuple[int, ...]


@frozen(eq=False)
class Writer:
    """Where a job writes its parts."""

    store: Store
    slots: Mapping[str, int]

    def write(self, part: str, position: int, array: npt.NDArray[Any]) -> None:
        """Writes the bytes of a contiguous array into a part, from a byte on."""
        if array.size:
            self.store.write(self.slots[part], position, array.reshape(-1).view(np.uint8).data)

    def emit(self, part: str, itemsize: int = 1) -> Callable[[int, npt.NDArray[Any]], None]:
        """`write` for a part, with positions that count elements of `itemsize` bytes."""
        return lambda position, array: self.write(part, position * itemsize, array)

    def whole(self, part: str, dtype: DType, array: npt.NDArray[Any]) -> Part:
        """Writes all of a part, whose type takes whole bytes."""
        self.write(part, 0, np.ascontiguousarray(array, dtype.numpy))
        return Part(dtype, array.shape)

    def stream(self, part: str, pieces: Iterable[memoryview]) -> None:
        """Writes all of a part, whose bytes come in pieces."""
        position = 0
        for piece in pieces:
            self.store.write(self.slots[part], position, piece)
            position += len(piece)

    def array(self, flow: Flow) -> Array:
        """All elements of a flow, in its shape: as they lie where they lie somewhere, and otherwise laid out, the many in a scratch file.

        Raises:
            ConfigError: the scratch folder has too little space.
        """
        if flow.size <= ELEMENTS or (isinstance(flow, Stored) and flow.bits is None):
            return flows.gathered(flow)
        file, position = self.store.room(flow.size * flow.dtype.itemsize), 0
        for part in flows.parts(flow):
            file.write_at(position, part.view(np.uint8).data)
            position += part.nbytes
        return np.frombuffer(file.view, flow.dtype).reshape(flow.shape)

    def tensors(self, parts: Mapping[str, Part]) -> dict[str, Tensor]:
        """What has been written, as tensors of these types and shapes."""
        return {name: self.store.tensor(self.slots[name], part.dtype, part.shape) for name, part in parts.items()}
