"""How near to the best scalar k-means comes, and how long it takes: `python -m tests.bench.kmeans [groups]`.

For every distribution and number of entries, some groups of fp16 values are clustered in both ways. Ratios are squared errors of the near
way over the best; times are CPU times a group, the least of three.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from mlpasses.numerics.kmeans import NUMPY, Floats, Solver, exact

Array: TypeAlias = npt.NDArray[Any]
Draw: TypeAlias = Callable[[np.random.Generator, int], Array]

SIZES: Final = (1000, 12_288, 1 << 17)
PLACES: Final = (2, 4, 8, 16)
MANY: Final = (64, 256)


def _bimodal(rng: np.random.Generator, size: int) -> Array:
    return rng.normal(0, 0.01, size) + 0.1 * (np.arange(size) % 2)


def _outliers(rng: np.random.Generator, size: int) -> Array:
    found = rng.normal(0, 0.02, size)
    found[:3] = 60_000, -3, 5
    return found


def _many_outliers(rng: np.random.Generator, size: int) -> Array:
    found, count = rng.normal(0, 0.02, size), rng.integers(1, 40)
    found[:count] = np.clip(rng.normal(0, 1, count) * 10 ** rng.uniform(-1, 4.5, count), -65_000, 65_000)
    return found


DISTRIBUTIONS: Final[dict[str, Draw]] = {
    "normal": lambda rng, size: rng.normal(0, 0.02, size),
    "laplace": lambda rng, size: rng.laplace(0, 0.02, size),
    "student": lambda rng, size: rng.standard_t(3, size) * 0.02,
    "cauchy": lambda rng, size: np.clip(rng.standard_cauchy(size) * 0.02, -65_000, 65_000),
    "uniform": lambda rng, size: rng.uniform(-0.05, 0.05, size),
    "bimodal": _bimodal,
    "outliers": _outliers,
    "many outliers": _many_outliers,
    "around one": lambda rng, size: 1 + rng.normal(0, 0.02, size),
    "lognormal": lambda rng, size: rng.lognormal(0, 1.5, size),
    "few values": lambda rng, size: rng.integers(-150, 150, size) / 100,
    "mostly zeros": lambda rng, size: rng.normal(0, 0.02, size) * (rng.random(size) < 0.1),
    "scales mixed": lambda rng, size: np.clip(rng.normal(0, 0.02, size) * np.exp(rng.normal(0, 2, size)), -65_000, 65_000),
}


def distinct_halves(values: Array) -> tuple[Floats, Floats]:
    """The distinct values of numbers as fp16, and how often each is there."""
    found, counts = np.unique(values.astype(np.float16) + np.float16(0), return_counts=True)
    return found.astype(np.float64), counts.astype(np.float64)


def squared_error(values: Floats, weights: Floats, entries: Floats) -> float:
    """Σw(x - e)² for the nearest entry e of each value."""
    codes = np.searchsorted((entries[1:] + entries[:-1]) / 2, values)
    return float((weights * np.square(values - entries[codes])).sum())


def _timed(work: Callable[[Floats, Floats, int, Solver], Floats], values: Floats, weights: Floats, places: int, solver: Solver) -> Floats:
    """The result, with the milliseconds it took as the last number."""
    least = np.inf
    for _ in range(3):
        start = time.thread_time()
        found = work(values, weights, places, solver)
        least = min(least, time.thread_time() - start)
    return np.append(found, least * 1e3)


def _near(values: Floats, weights: Floats, places: int, solver: Solver) -> Floats:
    found: Floats = solver.near(values, weights, np.array([0, len(values)]), places)[0]
    return found


def main(groups: int) -> None:
    from mlpasses.numerics.kmeans_kernels import NUMBA

    header = ("distribution", "elements", "values", "k", "the best", "worst ratio", "ms near", "NumPy", "exact")
    print("{:14} {:>8} {:>6} {:>4} {:>9} {:>12} {:>8} {:>7} {:>7}".format(*header))
    worst, same, count = 0.0, 0, 0
    for name, draw in DISTRIBUTIONS.items():
        for size in SIZES:
            drawn = [distinct_halves(draw(np.random.default_rng(seed), size)) for seed in range(groups)]
            for places in PLACES + MANY:
                ratios, times = [], []
                for values, weights in drawn:
                    *best, slow = _timed(exact, values, weights, places, NUMBA)
                    if places in MANY:
                        times.append((np.nan, np.nan, slow))
                        continue
                    *near, fast = _timed(_near, values, weights, places, NUMBA)
                    *_, plain = _timed(_near, values, weights, places, NUMPY)
                    least = squared_error(values, weights, np.array(best))
                    ratios.append(squared_error(values, weights, np.array(near)) / least - 1 if least else 0.0)
                    times.append((fast, plain, slow))
                equal = sum(ratio < 1e-12 for ratio in ratios)
                same, count, worst = same + equal, count + len(ratios), max([worst, *ratios])
                part = f"{equal:4}/{len(ratios):<4} {1 + max(ratios):12.7f}" if ratios else " " * 22
                took = "{:8.3f} {:7.2f} {:7.2f}".format(*np.median(times, axis=0))
                print(f"{name:14} {size:8} {len(drawn[0][0]):6} {places:4} {part} {took}", flush=True)
    print(f"{same} of {count} are the best; the worst is {1 + worst:.6f} times the best")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
