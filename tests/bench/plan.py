"""How long it takes to plan a pipeline: 50,000 ops, 5,200 weights, `RaiseOpset`, `QuantizeWeights` with rules, and `Cleanup` behind them.

    python -m tests.bench.plan [-n 5]

The program is the benchmarks' decoder, with tiny matrices and many layers, in the form that iOS17 has. Seconds are the processor's, minima
of several runs: planning is one thread, and the machine may be shared, so the structural check of the same program, which `tests.bench`
measures too, is timed beside it. `alone` is each pass' part of the plan.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable

from attrs import evolve

from ir.core import Program
from ir.mil.load import load_program
from ir.opset import IOS17
from ir.verify import structure
from mlpasses.cleanup.cleanup import Cleanup
from mlpasses.compress.quantize import QuantizeWeights
from mlpasses.config import Quantize
from mlpasses.pipeline import Pipeline
from mlpasses.plan import weight_free
from mlpasses.raising import RaiseOpset
from mlpasses.rules import Rules, Skip
from mlpasses.select import name, numel, op_type
from tests.bench.cases import DEEP, OPS_PER_LAYER
from tests.bench.decoder import package

SIZES = (5_000, 50_000)

RULES = Rules(
    (op_type("gather"), Skip("a table")),
    (name("layers_1_*"), None),
    (name("re:layers_[2-9]_mlp_(gate|up|down)"), Quantize("uint8")),
    (name("*attention_o"), Quantize(granularity="per-tensor")),
    (op_type("linear") & (numel >= 100), Quantize()),
    default=None,
)

COMPRESSION = Pipeline(RaiseOpset("iOS18"), QuantizeWeights(RULES))
PIPELINE = Pipeline(*COMPRESSION, Cleanup())


def decoder(ops: int) -> Program:
    return load_program(package(evolve(DEEP, name=f"deep-{ops}", layers=ops // OPS_PER_LAYER, opset=IOS17)))


def seconds(work: Callable[[], object], repeats: int) -> float:
    """The processor's seconds for some work: the least of several."""
    found = []
    for _ in range(repeats):
        gc.collect()
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    for size in SIZES:
        program = decoder(size)
        plan = PIPELINE.plan(program)
        assert not plan.findings, plan.findings
        assert not plan.unplanned, plan.unplanned
        ops = sum(len(block) for block in program.blocks())
        bare = seconds(lambda program=program: COMPRESSION.plan(program), repeats)  # type: ignore[misc]  # bound at once
        taken = seconds(lambda program=program: PIPELINE.plan(program), repeats)  # type: ignore[misc]  # likewise
        checked = seconds(lambda program=program: structure.verify(program), repeats)  # type: ignore[misc]
        print(f"{ops:,} ops, {len(plan.rows):,} weights: plan {1000 * bare:.0f} ms, with Cleanup {1000 * taken:.0f} ms")
        print(f"  structural check {1000 * checked:.0f} ms; the plan takes {taken / checked:.1f} times that")
        free = seconds(lambda program=program: weight_free(program), repeats)  # type: ignore[misc]
        print(f"  of it the weight-free clone {1000 * free:.0f} ms")
        for each in PIPELINE:
            alone = seconds(lambda each=each, program=program: each.plan(program), repeats) - free  # type: ignore[misc]
            print(f"  alone {each.name:18} {1000 * alone:7.0f} ms")


if __name__ == "__main__":
    main()
