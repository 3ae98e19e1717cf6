"""What mlpasses does in the benchmarks: `python tests/bench/ours.py JOB SOURCE TARGET`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Final

import mlpasses as mp

JOBS: Final[Mapping[str, Callable[[], mp.Pass]]] = {
    "noop": lambda: mp.Pipeline(),
    "quantize": lambda: mp.QuantizeWeights(),
    "int4-blocks": lambda: mp.QuantizeWeights(mp.Quantize("int4", granularity="per-block", block_size=32)),
    "kmeans": lambda: mp.PalettizeWeights(mp.Palettize(4)),
    "kmeans-groups": lambda: mp.PalettizeWeights(mp.Palettize(4, group_size=16)),
    "magnitude": lambda: mp.PruneWeights(mp.Magnitude(0.75)),
    "joint": lambda: mp.Pipeline(
        mp.PruneWeights(mp.Magnitude(0.5)), mp.PalettizeWeights(mp.Palettize(4, group_size=16)), mp.QuantizeLuts("int8")
    ),
    "decompress": lambda: mp.DecompressWeights(),
}

if __name__ == "__main__":
    job, source, target = sys.argv[1:]
    if job not in JOBS:
        raise SystemExit(f"there is no job {job!r}")
    program = mp.load(source)
    if job == "noop":
        program.save(target)
    else:
        mp.run(program, JOBS[job]()).save(target)
