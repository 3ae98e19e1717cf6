"""Every op whose definition changed, to every later target: it verifies, coremltools accepts it, and it computes what it did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ir.builder import FunctionBuilder, build_program
from ir.core import Value
from ir.opset import IOS15, IOS17, OPSETS, Opset
from ir.specs import changes, op_types
from ir.text import to_text
from ir.types import DTYPE_BY_NAME, FP32, DType, TensorType
from ir.verify import specification
from tests.ir.samples import SAMPLES, Sample, X
from tests.opset.cases import CASES, Case
from tests.opset.check import fragment, later, raised
from tests.opset.evaluate import evaluate
from tests.oracle import accepted


def _pairs(cases: list[Case]) -> list[object]:
    return [pytest.param(case, target, id=f"{case.name.replace(' ', '_')}-{target}") for case in cases for target in later(case.opset)]


PAIRS = _pairs(CASES)
COMPUTED = _pairs([case for case in CASES if case.inputs is not None])


def test_every_op_with_a_new_parameter_or_meaning_has_a_case() -> None:
    changed = {
        op_type
        for opset in OPSETS
        for op_type in op_types(opset)
        for change in changes(op_type, IOS15, OPSETS[-1])
        if change.added or change.removed or change.meaning is not None
    }
    assert {case.op_type for case in CASES} == changed


@pytest.mark.parametrize(("case", "target"), COMPUTED)
def test_changed_op_computes_what_it_did(case: Case, target: Opset) -> None:
    assert case.inputs is not None
    program = fragment(case.text, case.opset)
    expected = evaluate(program.main, case.inputs)
    found = evaluate(raised(program, target).main, case.inputs)
    assert len(found) == len(expected)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize(("case", "target"), _pairs([case for case in CASES if case.loads]))
def test_changed_op_is_accepted_by_coremltools(case: Case, target: Opset, tmp_path: Path) -> None:
    path = raised(fragment(case.text, case.opset), target).save(tmp_path / "raised.mlpackage")
    (program,) = accepted(path)
    assert {str(function.opset_version) for function in program.functions.values()} == {str(_coremltools(target))}


@pytest.mark.parametrize(("case", "target"), PAIRS)
def test_raising_step_by_step_gives_what_raising_at_once_does(case: Case, target: Opset) -> None:
    program = fragment(case.text, case.opset)
    at_once = raised(program, target)
    for step in later(case.opset, [opset for opset in OPSETS if opset <= target]):
        program = raised(program, step)
    assert to_text(program).text == to_text(at_once).text


@pytest.mark.parametrize(("case", "target"), PAIRS)
def test_interface_stays(case: Case, target: Opset) -> None:
    program = fragment(case.text, case.opset)
    function, result = program.main, raised(program, target).main
    assert [(v.name, v.type) for v in result.inputs] == [(v.name, v.type) for v in function.inputs]
    assert [v.name for v in result.outputs] == [v.name for v in function.outputs]
    assert all(specification.agree(a.type, b.type) for a, b in zip(function.outputs, result.outputs, strict=True))


SAMPLE_PAIRS = [
    pytest.param(old, new, id=f"{old}-{new}") for old in OPSETS[:-1] for new in later(old)
]


@pytest.mark.parametrize(("old", "new"), SAMPLE_PAIRS)
def test_one_program_with_nearly_every_op_verifies_and_is_accepted(old: Opset, new: Opset, tmp_path: Path) -> None:
    samples = [s for s in SAMPLES if s.since <= old <= s.until and _is_raisable(s, new)]
    result = raised(build_program(_function(samples, old)), new)
    assert specification.problems(result) == []
    accepted(result.save(tmp_path / "raised.mlpackage"))


def _function(samples: list[Sample], opset: Opset) -> FunctionBuilder:
    """Inputs of a type or rank that a model's interface cannot have are made from such as it can."""
    named = {
        f"{name}_{i}_{j}": part
        for i, sample in enumerate(samples)
        for name, operand in sample.operands.items()
        for j, part in enumerate(operand if isinstance(operand, tuple) else (operand,))
        if isinstance(part, X)
    }
    f = FunctionBuilder("main", {key: TensorType(_plain(part), part.shape or (1,)) for key, part in named.items()}, opset)
    values: dict[str, Value] = dict(f.inputs)
    for key, part in named.items():
        if not part.shape:
            values[key] = f.op("squeeze", x=values[key], axes=[0]).output
        if _plain(part).name != part.dtype:
            values[key] = f.op("cast", x=values[key], dtype=part.dtype).output
    for i, sample in enumerate(samples):
        given: dict[str, Any] = {}
        for name, operand in sample.operands.items():
            parts = operand if isinstance(operand, tuple) else (operand,)
            held = [values[f"{name}_{i}_{j}"] if isinstance(part, X) else part for j, part in enumerate(parts)]
            given[name] = tuple(held) if isinstance(operand, tuple) else held[0]
        f.op(sample.op_type, name=f"sample_{i}", **given)
    f.outputs(f.op("relu", x=next(iter(values.values()))))
    return f


def _is_raisable(sample: Sample, new: Opset) -> bool:
    """Not where a score threshold is in use. The builder gives a `topk` without indices their type, which it must not have."""
    thresholds = new >= IOS17 and "score_threshold" in sample.operands
    return not thresholds and "return_indices" not in sample.operands


def _plain(part: X) -> DType:
    return DTYPE_BY_NAME[part.dtype] if part.dtype in ("fp32", "int32") else FP32


def _coremltools(target: Opset) -> object:
    import coremltools as ct

    return getattr(ct.target, target.target)
