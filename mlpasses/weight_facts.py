"""What is to be known of the weights that a model stores, in plain data: their form, their numbers, how far they are from another model's.

    for row in weight_rows(program, original=load("Encoder.mlpackage")):
        print(row["name"], row["scheme"], row["against"])

Numbers are read a piece at a time, of several weights at once: a compressed one is never dense in memory, nor is its original.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from attrs import asdict, frozen

from ir.core import Op, Program
from ir.diagnostics import EvaluationError
from ir.flows import Flow
from ir.statistics import difference_of, statistics_of
from ir.weights import Weight
from mlpasses.quantities import shape_text
from mlpasses.report import finite
from mlpasses.workers import run_tasks

Keep = Callable[[Weight], bool]


def weight_rows(
    program: Program, *, keep: Keep = lambda weight: True, numbers: bool = False, original: Program | None = None
) -> list[dict[str, Any]]:
    """The weights that `keep` keeps, in program order, each as plain data for JSON.

    With `numbers` they are read, and `statistics` has extremes, sparsity and the like; it is None where a weight cannot be decompressed,
    and `unread` says why. With an `original`, `against` has the differences from its weight of the same place and name: `sqnr` in dB and
    `max_error`, or under `unmatched` why there are none.
    """
    originals = None if original is None else {_place(weight): weight for weight in original.weights(min_elements=1)}
    rows, readings = [], []
    for weight in filter(keep, program.weights()):
        row = _stored(weight)
        rows.append(row)
        if not numbers and originals is None:
            continue
        elements = _elements(weight)
        if isinstance(elements, str):
            row["unread"] = elements
            if numbers:
                row["statistics"] = None
        theirs = None if originals is None else _original(weight, elements, originals.get(_place(weight)))
        if isinstance(theirs, str):
            row["against"] = {"unmatched": theirs}
        if not isinstance(elements, str):
            readings.append(_Reading(row, elements, numbers, None if isinstance(theirs, str) else theirs))
    run_tasks(_Reading.run, readings, size=_Reading.size, workers=os.cpu_count() or 1)
    return rows


@frozen(eq=False)
class _Reading:
    """What the numbers of a weight are read for."""

    row: dict[str, Any]
    """What is found goes here."""
    elements: Flow
    statistics: bool
    original: Flow | None

    def size(self) -> int:
        return self.elements.size

    def run(self) -> None:
        if self.statistics:
            self.row["statistics"] = asdict(statistics_of(self.elements))
        if self.original is not None:
            found = difference_of(self.elements, self.original)
            self.row["against"] = {"sqnr": finite(found.sqnr), "max_error": finite(found.worst)}


def missing_weights(program: Program, original: Program, keep: Keep = lambda weight: True) -> list[Weight]:
    """The weights of an original that a program has none of the same place and name for."""
    known = {_place(weight) for weight in program.weights(min_elements=1)}
    return [weight for weight in filter(keep, original.weights()) if _place(weight) not in known]


def _place(weight: Weight) -> tuple[str, str]:
    return weight.where, weight.name


def _stored(weight: Weight) -> dict[str, Any]:
    """What is known without reading a number."""
    users = [(use.user, use.parameter) for use in weight.consumers if isinstance(use.user, Op)]
    groups = weight.groups
    return {
        "where": weight.where,
        "name": weight.name,
        "consumers": [{"op_type": op.op_type, "name": op.name, "parameter": parameter} for op, parameter in users],
        "dtype": weight.dtype.name,
        "shape": list(weight.shape),
        "scheme": weight.scheme,
        "groups": None if groups is None else list(groups),
        "bytes": weight.nbytes,
        "bits": weight.bits,
    }


def _elements(weight: Weight) -> Flow | str:
    """The numbers, or why they cannot be known."""
    try:
        return weight.flow()
    except EvaluationError as error:
        return str(error)


def _original(weight: Weight, elements: Flow | str, original: Weight | None) -> Flow | str:
    """The numbers that a weight is held against, or why it is not."""
    if original is None:
        return f"the original has no weight of this name in {weight.where}"
    if original.shape != weight.shape:
        return f"the original is {shape_text(original.shape)}"
    if isinstance(elements, str):
        return elements
    theirs = _elements(original)
    return f"the original cannot be read: {theirs}" if isinstance(theirs, str) else theirs
