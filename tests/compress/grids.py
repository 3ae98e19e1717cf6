"""Many settings at once: a copy of the zoo for each, in one program, one run and one package.

What every legal point has to show: the plan has no findings, the run verifies (which `run` does itself), the package is accepted by
coremltools, whose values are ours to the bit; sizes are as planned; and what the program takes and yields is as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from ir.mil.load import load_program
from ir.opset import IOS15, Opset
from ir.types import FP16, DType
from mlpasses.compress.weight_pass import WeightPass
from mlpasses.errors import ConfigError
from mlpasses.manager import run
from mlpasses.pipeline import Pipeline
from mlpasses.raising import RaiseOpset
from mlpasses.report import WeightRow
from mlpasses.rules import Rules
from mlpasses.select import Filter, name
from tests.compress.models import KINDS, assert_decoded_alike, assert_planned, interface, linear, numbers, zoo


@frozen
class Point:
    """A config, and the weights of a zoo that it is for."""

    config: Any
    only: Filter | None = None
    kinds: tuple[str, ...] = KINDS


def points(configs: Iterable[Any]) -> list[Point]:
    return [Point(config) for config in configs]


def rows_of(
    kind: type[WeightPass], grid: Sequence[Point], opset: Opset, dtype: DType, folder: Path, width: int = 1, distinct: int | None = None
) -> Mapping[tuple[int, str], WeightRow]:
    """What became of each weight at each point: by the number of the point, and the weight's name in the zoo."""
    program = zoo(opset, dtype, width, len(grid), distinct)
    before = str(program)
    rules = []
    for index, point in enumerate(grid):
        here = name(f"c{index}_*")
        rules.append((here if point.only is None else here & point.only, point.config))
    weight_pass = kind(Rules(*rules))
    plan = weight_pass.plan(program).checked()
    result = run(program, weight_pass)
    path = result.save(folder / "grid.mlpackage")
    saved = load_program(path)
    assert str(program) == before
    assert interface(saved) == interface(program)
    assert_planned(plan, result.report.weights, saved)
    assert_decoded_alike(saved, path)
    return {_place(row.name): row for row in result.report.weights}


def _place(name: str) -> tuple[int, str]:
    copy, _, kind = name.partition("_")
    return int(copy.removeprefix("c")), kind


def skipped(rows: Mapping[tuple[int, str], WeightRow], grid: Sequence[Point]) -> list[str]:
    """The points that were not compressed, with the reason."""
    return [
        f"{kind} {point.config}: {rows[index, kind].skipped}"
        for index, point in enumerate(grid)
        for kind in point.kinds
        if rows[index, kind].skipped is not None
    ]


def assert_refused(weight_pass: WeightPass, opset: Opset, needs: Opset, dtype: DType = FP16) -> None:
    """Whether plan and run both say which opset a program would have to be raised to, and it is enough to do so."""
    program = linear(numbers(64, 64, dtype=dtype.numpy), opset)
    (finding,) = weight_pass.plan(program).findings
    with pytest.raises(ConfigError) as error:
        run(program, weight_pass)
    for text in (finding, str(error.value)):
        assert f"function main is written for {opset}" in text
        assert f'put RaiseOpset("{needs}") before {weight_pass.name}' in text
    if opset is not IOS15:
        assert f"needs {needs}, for 1 weight:" in finding
    raised = Pipeline(RaiseOpset(needs), weight_pass)
    plan = raised.plan(program)
    assert (plan.findings, [row.skipped for row in plan.rows]) == ([], [None])
    assert len(run(program, raised).report.weights) == 1
