"""Lift, lower and verification of a program of many ops, in one process: prints the median seconds of each as JSON.

The seconds are the processor's: nothing here waits, and a busy machine changes them less.

`python tests/bench/structure.py PACKAGE REPEATS`
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Final

from ir.mil.document import Document
from ir.mil.lift import lift_encoded
from ir.mil.load import load_program
from ir.mil.lower import lower_model
from ir.mil.values import Encoder
from ir.tensors import Tensor
from ir.verify import structure

NOWHERE: Final = ("@model_path/weights/weight.bin", 64)


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """The median of `repeats` runs, each on a clean heap."""
    taken = []
    for _ in range(repeats):
        gc.collect()
        started = time.process_time()
        kept = work()
        taken.append(time.process_time() - started)
        del kept
    return median(taken)


def measure(path: Path, repeats: int) -> dict[str, float]:
    """Seconds for each step, the protobuf's own encoding included."""
    program = load_program(path)
    document = program.document
    assert isinstance(document, Document)
    files = {file.name: file for file in document.references}

    def blob(tensor: Tensor) -> tuple[str, int] | None:
        return NOWHERE if tensor.nbytes >= 64 else None

    def lower() -> bytes:
        encoded: bytes = lower_model(program, Encoder(blob), document.model).SerializeToString(deterministic=True)
        return encoded

    return {
        "ops": sum(len(block) for block in program.blocks()),
        "lift": seconds(lambda: lift_encoded(document.model, files.__getitem__), repeats),
        "lower": seconds(lower, repeats),
        "verify": seconds(lambda: structure.verify(program), repeats),
    }


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]))))
