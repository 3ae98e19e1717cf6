"""`Cleanup` against coremltools' cleanup pipeline, on one program in one process; and how its time grows with a program.

    python -m tests.bench.cleanup [--package mobilebert] [-n 5]

Each side works on a program that it has loaded: loading is not counted. Ours is measured as users run it (`mlpasses.run`, which clones the
program and verifies it after every pass) and without that; theirs is `PassPipelineManager.apply_pipeline` with `PassPipeline.CLEANUP`, on
a program loaded anew each time, since it works in place. The two take turns; seconds are the processor's, medians.

Growth is measured on two programs of 5,000 and 50,000 ops: the benchmarks' decoder, where there is little to do but to merge constants, and
one that is made of what clean-up passes look for, so that four ops of five go.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

from attrs import evolve

from ir.builder import FunctionBuilder, build_program
from ir.core import Program
from ir.mil.load import load_program
from ir.opset import IOS18
from ir.types import FP16, TensorType
from mlpasses.cleanup.cleanup import Cleanup
from mlpasses.context import Context
from mlpasses.manager import run
from tests.bench.cases import DEEP, OPS_PER_LAYER
from tests.bench.decoder import package
from tests.corpus import Corpus

SIZES: Final = (5_000, 50_000)
OPS_PER_LINK: Final = 17


def seconds(work: Callable[[], object]) -> float:
    """The processor's seconds for some work, on a clean heap."""
    gc.collect()
    started = time.process_time()
    work()
    return time.process_time() - started


def against_coremltools(path: Path, repeats: int) -> None:
    import coremltools as ct
    from coremltools.converters.mil.frontend.milproto.load import load
    from coremltools.converters.mil.mil.passes.pass_pipeline import PassPipelineManager

    program = load_program(path)
    model = ct.models.MLModel(str(path), skip_model_load=True)
    spec = model.get_spec()

    def theirs() -> Any:
        return load(spec, specification_version=spec.specificationVersion, file_weights_dir=model.weights_dir or "")

    times: dict[str, list[float]] = {"coremltools": [], "mlpasses.run": [], "without clone and verification": []}
    left = 0
    for turn in range(repeats + 1):
        subject, clone = theirs(), program.clone()
        with contextlib.redirect_stderr(io.StringIO()):
            found = {
                "coremltools": seconds(partial(PassPipelineManager.apply_pipeline, subject, ct.PassPipeline.CLEANUP)),
                "mlpasses.run": seconds(partial(run, program, Cleanup())),
                "without clone and verification": seconds(partial(Cleanup().apply, clone, Context())),
            }
        left = sum(len(function.operations) for function in subject.functions.values())
        if turn:  # the first is to warm up
            for name, taken in found.items():
                times[name].append(taken)
    typical = {name: median(taken) for name, taken in times.items()}
    result = run(program, Cleanup()).program
    print(f"{path.stem}: {count(program):,} ops; mlpasses leaves {count(result):,}, coremltools {left:,}")
    for name, taken in typical.items():
        print(f"  {name:31} {1000 * taken:8.1f} ms   {typical['coremltools'] / taken:5.1f}×")


def growth(name: str, programs: list[Program], repeats: int) -> None:
    """Milliseconds for programs of growing size, and microseconds an op."""
    for program in programs:
        taken = median(seconds(partial(run, program, Cleanup())) for _ in range(repeats))
        alone = median(_alone(program) for _ in range(repeats))
        ops = count(program)
        print(f"  {name}, {ops:6,} ops: {1000 * taken:8.1f} ms, {1e6 * taken / ops:5.1f} µs an op; alone {1000 * alone:8.1f} ms")


def _alone(program: Program) -> float:
    clone = program.clone()
    return seconds(partial(Cleanup().apply, clone, Context()))


def count(program: Program) -> int:
    return sum(len(block) for block in program.blocks())


def decoders() -> list[Program]:
    return [load_program(package(evolve(DEEP, name=f"deep-{size}", layers=size // OPS_PER_LAYER))) for size in SIZES]


def untidy(size: int) -> Program:
    """Links of pairs that cancel, doubles, dead code and doubled constants, one behind the other."""
    builder = FunctionBuilder("main", {"x": TensorType(FP16, (4, 4))}, IOS18)
    value = builder.inputs["x"]
    for _ in range(size // OPS_PER_LINK):
        turned = builder.op("transpose", x=value, perm=[1, 0])
        back = builder.op("transpose", x=turned, perm=[1, 0])
        wide = builder.op("cast", x=back, dtype="fp32")
        narrow = builder.op("cast", x=wide, dtype="fp16")
        flat = builder.op("reshape", x=narrow, shape=[16])
        square = builder.op("reshape", x=flat, shape=[4, 4])
        one, same = (builder.op("mul", x=square, y=[1.0, 2.0, 3.0, 4.0]) for _ in range(2))
        builder.op("exp", x=one)
        value = builder.op("add", x=one, y=same).output
    builder.outputs(value)
    return build_program(builder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", default="mobilebert", help="a package of the corpus")
    parser.add_argument("-n", "--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        against_coremltools(Corpus(Path(scratch)).path(options.package), options.repeats)
    print("growth:")
    growth("decoder", decoders(), options.repeats)
    growth("untidy", [untidy(size) for size in SIZES], options.repeats)


if __name__ == "__main__":
    main()
