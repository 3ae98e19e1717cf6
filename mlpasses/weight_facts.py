"""What is to be known of the weights that a model stores, in plain data: their form, their numbers, how far they are from another model's.

    for row in weight_rows(program, original=load("Encoder.mlpackage")):
        print(row["name"], row["scheme"], row["against"])

Weights are looked at one after the other, and each a piece at a time: a compressed one is never dense in memory, nor is its original.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from attrs import asdict

from ir.core import Op, Program
from ir.diagnostics import EvaluationError
from ir.flows import Flow
from ir.statistics import difference_of, statistics_of
from ir.weights import Weight
from mlpasses.quantities import shape_text
from mlpasses.report import finite

Keep = Callable[[Weight], bool]


def weight_rows(
    program: Program, *, keep: Keep = lambda weight: True, numbers: bool = False, original: Program | None = None
) -> Iterator[dict[str, Any]]:
    """The weights that `keep` keeps, in program order, each as plain data for JSON.

    With `numbers` they are read, and `statistics` has extremes, sparsity and the like; it is None where a weight cannot be decompressed,
    and `unread` says why. With an `original`, `against` has the differences from its weight of the same place and name: `sqnr` in dB and
    `max_error`, or under `unmatched` why there are none.
    """
    originals = None if original is None else {_place(weight): weight for weight in original.weights(min_elements=1)}
    for weight in filter(keep, program.weights()):
        row = _stored(weight)
        if numbers or originals is not None:
            elements = _elements(weight)
            if isinstance(elements, str):
                row["unread"] = elements
            if numbers:
                row["statistics"] = None if isinstance(elements, str) else asdict(statistics_of(elements))
            if originals is not None:
                row["against"] = _against(weight, elements, originals.get(_place(weight)))
        yield row


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


def _against(weight: Weight, elements: Flow | str, original: Weight | None) -> dict[str, Any]:
    if original is None:
        return {"unmatched": f"the original has no weight of this name in {weight.where}"}
    if original.shape != weight.shape:
        return {"unmatched": f"the original is {shape_text(original.shape)}"}
    if isinstance(elements, str):
        return {"unmatched": elements}
    theirs = _elements(original)
    if isinstance(theirs, str):
        return {"unmatched": f"the original cannot be read: {theirs}"}
    found = difference_of(elements, theirs)
    return {"sqnr": finite(found.sqnr), "max_error": finite(found.worst)}
