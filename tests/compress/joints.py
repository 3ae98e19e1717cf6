"""Several passes over one model in every order: a copy of the zoo for each setting, and what has to hold of the outcome.

What every order has to show: the plan has no findings and the sizes of the run, the run verifies (which `run` does itself), so does the
saved package; coremltools accepts it, and its values are ours to the bit; and what the program takes and yields is as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from attrs import evolve, field, frozen

from ir.core import Program
from ir.mil.load import load_program
from ir.opset import Opset
from ir.tensors import Array
from ir.types import FP16, DType
from ir.verify import specification, structure
from mlpasses.candidates import Candidate, survey
from mlpasses.compress.joint import Scheme
from mlpasses.compress.palettize import PalettizeWeights
from mlpasses.compress.prune import PruneWeights
from mlpasses.compress.quantize import QuantizeWeights
from mlpasses.compress.weight_pass import WeightPass
from mlpasses.config import Magnitude, Palettize, Quantize
from mlpasses.forms.form import Form
from mlpasses.manager import Result, run
from mlpasses.pipeline import Pipeline
from mlpasses.plan import Plan
from mlpasses.rules import Rules
from mlpasses.select import name
from tests.compress.models import KINDS, assert_decoded_alike, interface, zoo

Order: TypeAlias = tuple[Scheme, ...]
PASSES: Final[dict[Scheme, type[WeightPass]]] = {"prune": PruneWeights, "quantize": QuantizeWeights, "palettize": PalettizeWeights}
PAIRS: Final[list[Order]] = list(permutations(PASSES, 2))
TRIPLES: Final[list[Order]] = list(permutations(PASSES, 3))


def ordered(order: Order) -> str:
    """An order as the name of a test has it."""
    return "-".join(order)

HALF: Final = Magnitude(0.5)
ONE_SCALE: Final = Quantize(granularity="per-tensor")
ONE_TABLE: Final = Palettize(4)


@frozen
class Setting:
    """A config for each of the schemes, and the weights of a zoo that they are for."""

    prune: Any = HALF
    quantize: Any = ONE_SCALE
    palettize: Any = ONE_TABLE
    kinds: tuple[str, ...] = field(default=KINDS, kw_only=True)

    def config(self, scheme: Scheme) -> Any:
        return evolve({"prune": self.prune, "quantize": self.quantize, "palettize": self.palettize}[scheme], min_elements=1)


def pipeline(order: Order, settings: Sequence[Setting]) -> Pipeline:
    """The passes of an order, each with the config of a setting for the setting's copy of the zoo."""
    return Pipeline(
        *(
            PASSES[scheme](
                Rules(*((name(*(f"c{at}_{kind}" for kind in each.kinds)), each.config(scheme)) for at, each in enumerate(settings)))
            )
            for scheme in order
        )
    )


@frozen
class Outcome:
    """What came of an order."""

    result: Result
    saved: Program

    def scheme(self, copy: int, kind: str) -> str:
        """The form that a weight is in."""
        return {weight.name: weight.scheme for weight in self.saved.weights()}[f"c{copy}_{kind}"]


def outcome_of(order: Order, settings: Sequence[Setting], opset: Opset, folder: Path, width: int = 2, dtype: DType = FP16) -> Outcome:
    """Runs an order over the zoo, with everything checked; every weight that the settings are for goes through every pass."""
    program = zoo(opset, dtype, width, copies=max(2, len(settings)))
    before = str(program)
    passes = pipeline(order, settings)
    plan = passes.plan(program).checked()
    result = run(program, passes)
    path = result.save(folder / "joint.mlpackage")
    saved = load_program(path)
    structure.verify(saved)
    specification.verify(saved)
    assert str(program) == before
    assert interface(saved) == interface(program)
    wanted = {f"c{at}_{kind}" for at, each in enumerate(settings) for kind in each.kinds}
    assert_steps_planned(plan, result, saved, wanted)
    assert_decoded_alike(saved, path, least=2 * len(wanted))
    return Outcome(result, saved)


def assert_steps_planned(plan: Plan, result: Result, saved: Program, wanted: Iterable[str]) -> None:
    """Whether each pass did to these weights what was planned, in the bytes that were planned; and whether they lie in the file so."""
    planned = {(row.pass_name, *row.key): row for row in plan.rows}
    stored = {weight.name: weight.nbytes for weight in saved.weights()}
    last: dict[str, int] = {}
    for row in result.report.weights:
        if row.name not in wanted:
            continue
        assert row.skipped is None, f"{row.pass_name} of {row.name}: {row.skipped}"
        of_plan = planned[row.pass_name, *row.key]
        assert of_plan.scheme == row.scheme
        assert of_plan.least <= row.after <= of_plan.after, (row, of_plan)
        assert row.before == last.get(row.name, row.before)
        last[row.name] = row.after
    assert last == {each: stored[each] for each in wanted}


def form(program: Program, weight: str = "w") -> Form:
    """The form of a compressed weight."""
    found = next(each for each in survey(program) if each.name == weight)
    assert isinstance(found, Candidate)
    assert found.form is not None
    return found.form


def mask(program: Program, weight: str = "w") -> Array:
    """The mask of a sparse weight."""
    found = form(program, weight).mask
    assert found is not None
    return found.numpy().astype(np.bool_)


def values(program: Program) -> dict[str, Array]:
    """The numbers of every weight, as its consumers see them."""
    return {weight.name: weight.tensor().numpy() for weight in program.weights()}


def decoded(program: Program) -> Array:
    """The numbers of the weight `w`."""
    return values(program)["w"]
