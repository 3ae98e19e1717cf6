"""Pruning, kernels alone: gigabytes of weight a second on one core, choice and application together.

The seconds are the thread's, the least of three runs; nothing is written anywhere.

`python tests/bench/sparsity.py [SIDE]`
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mlpasses.numerics.sparsity import (
    NUMPY,
    Cut,
    Engine,
    apply_cut,
    choose_blocks,
    choose_magnitude,
    choose_n_of_m,
    choose_threshold,
)
from mlpasses.numerics.sparsity_kernels import NUMBA

Array = npt.NDArray[Any]

CUTS: Final[dict[str, Callable[[Array, Engine], Cut]]] = {
    "magnitude 75 %": lambda weight, engine: choose_magnitude(weight, 0.75, engine),
    "… by importance": lambda weight, engine: choose_magnitude(weight, 0.75, engine, np.ones((1, weight.shape[1], 1), np.float32)),
    "threshold": lambda weight, engine: choose_threshold(weight, 0.02, engine),
    "2:4": lambda weight, engine: choose_n_of_m(weight, 2, 4, engine),
    "blocks of 4, 75 %": lambda weight, engine: choose_blocks(weight, 4, 0.75, engine),
}


def seconds(weight: Array, choose: Callable[[Array, Engine], Cut], engine: Engine) -> float:
    """The least time of three runs, after one that compiles."""
    taken = []
    for _ in range(4):
        started = time.thread_time()
        apply_cut(weight, choose(weight, engine), engine, lambda position, piece: None, lambda position, piece: None)
        taken.append(time.thread_time() - started)
    return min(taken[1:])


def main(side: int) -> None:
    """Prints a row for each type, layout, cut and engine."""
    random = np.random.default_rng(0)
    for dtype in (np.float16, np.float32):
        flat = (random.standard_normal(side * side, np.float32) * 0.02).astype(dtype)
        for axis, shape in enumerate(((1, side, side), (side, side, 1))):
            for name, choose in CUTS.items():
                for engine, of in (("NumPy", NUMPY), ("Numba", NUMBA)):
                    rate = flat.nbytes / seconds(flat.reshape(shape), choose, of) / 1e9
                    print(f"{np.dtype(dtype).name:8} axis {axis}  {name:18} {engine}  {rate:6.2f} GB/s", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4096)
