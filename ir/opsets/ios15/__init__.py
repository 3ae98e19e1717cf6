"""iOS15: the base row of every op that Core ML 5 knows."""

from __future__ import annotations

from typing import Final

from ir.opsets.ios15 import control, elementwise, indexing, layers, movement
from ir.opsets.schema import OpSpec

ROWS: Final[tuple[OpSpec, ...]] = (*elementwise.ROWS, *layers.ROWS, *movement.ROWS, *indexing.ROWS, *control.ROWS)
