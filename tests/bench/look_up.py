"""The table of a palettized weight looked up, from arrays to an array, in one process: prints the seconds of each run as JSON.

`python tests/bench/look_up.py ours|peer PACKAGE REPEATS`
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from ir.core import Program, constant_of
from ir.mil.load import load_program


def ours(program: Program) -> Callable[[], Any]:
    """The dense value of the one weight."""
    (weight,) = program.weights()
    return weight.numpy


def peer(program: Program) -> Callable[[], Any]:
    """coremltools' evaluation of the one op."""
    from coremltools.optimize import _utils

    (op,) = program.main.ops("constexpr_lut_to_dense")
    indices, lut = (constant.numpy() for constant in (constant_of(op["indices"]), constant_of(op["lut"])) if constant is not None)
    return lambda: _utils.lut_to_dense(indices, lut, None)


CONTENDERS: Final[Mapping[str, Callable[[Program], Callable[[], Any]]]] = {"ours": ours, "peer": peer}


def seconds(work: Callable[[], Any], repeats: int) -> list[float]:
    """How long each run took. Nothing is kept between them."""
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        found = work()
        taken.append(time.perf_counter() - started)
        del found
    return taken


if __name__ == "__main__":
    contender, source, count = sys.argv[1:]
    print(json.dumps(seconds(CONTENDERS[contender](load_program(Path(source))), int(count))))
