"""What mlpasses does in the benchmarks: `python tests/bench/ours.py JOB SOURCE TARGET`."""

from __future__ import annotations

import sys

import mlpasses as mp

if __name__ == "__main__":
    job, source, target = sys.argv[1:]
    program = mp.load(source)
    if job == "noop":
        program.save(target)
    elif job == "quantize":
        mp.run(program, mp.QuantizeWeights()).save(target)
    else:
        raise SystemExit(f"there is no job {job!r}")
