"""Vector palettization, kernels alone: seconds of one core, and the squared error beside that of the peer's k-means.

The peer is scikit-learn's KMeans with the arguments that coremltools gives it; without scikit-learn there is no such column. Its seconds
are the wall's: it takes all cores.

`python tests/bench/vectors.py [SIDE]`
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mlpasses.numerics.vector_kernels import NUMBA
from mlpasses.numerics.vector_kmeans import palettize_vectors

Array = npt.NDArray[Any]

SETTINGS: Final = ((2, 4), (2, 16), (2, 256), (4, 16), (4, 64), (4, 256))
"""Vector size and entries."""


def weights(side: int) -> Iterator[tuple[str, Array]]:
    """Square weights of several distributions."""
    random = np.random.default_rng(0)
    shape = (side, side)
    yield "normal", random.standard_normal(shape)
    yield "Laplace", random.laplace(size=shape)
    yield "Student, 3", random.standard_t(3, size=shape)
    rows = random.standard_normal((side, 32)) * np.exp(random.standard_normal((side, 1)) / 2)
    yield "low rank", rows @ random.standard_normal((32, side)) / 5


def ours(weight: Array, size: int, entries: int) -> tuple[float, float]:
    """(seconds, squared error)."""
    started = time.thread_time()
    _, loss = palettize_vectors(weight[None], size, entries, NUMBA, lambda position, piece: None)
    return time.thread_time() - started, loss.noise


def peers(weight: Array, size: int, entries: int) -> tuple[float, float]:
    """The same, with centers rounded to the weight's type as the peer stores them."""
    k_means = importlib.import_module("sklearn.cluster").KMeans
    rows, columns = weight.shape
    vectors = weight.reshape(rows // size, size, columns).swapaxes(1, 2).reshape(-1, size)
    started = time.perf_counter()
    found = k_means(entries, init="k-means++", tol=1e-2, n_init=1, random_state=0).fit(vectors)
    taken = time.perf_counter() - started
    off = vectors.astype(np.float64) - found.cluster_centers_.astype(weight.dtype)[found.labels_]
    return taken, float(np.square(off).sum())


def main(side: int) -> None:
    """Prints a row for each distribution and setting."""
    there = importlib.util.find_spec("sklearn") is not None
    for size in (2, 4):
        ours(np.random.default_rng(0).standard_normal((256, 256)).astype(np.float16), size, 16)  # compiles
    for name, values in weights(side):
        weight = (values * 0.02).astype(np.float16)
        for size, entries in SETTINGS:
            seconds, error = ours(weight, size, entries)
            row = f"{name:10}  {entries:3} entries of {size}  {seconds:6.2f} s"
            if there:
                theirs, other = peers(weight, size, entries)
                row += f"  peer {theirs:6.2f} s  error {error / other:.4f} of the peer's"
            print(row, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1024)
