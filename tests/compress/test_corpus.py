"""All three passes on every real package, each in two settings: one for the opset that the package is written for, one for iOS18."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from ir.const import Const
from ir.core import Op, Program, constant_of
from ir.mil.load import load_program
from ir.opset import IOS16, IOS18, Opset, opset_of_key
from ir.tensors import Tensor, same_tensor
from ir.verify import specification, structure
from ir.weights import placed_ops
from mlpasses.compress.decompress import DecompressWeights
from mlpasses.compress.palettize import PalettizeWeights
from mlpasses.compress.prune import PruneWeights
from mlpasses.compress.quantize import QuantizeWeights
from mlpasses.compress.weight_pass import WeightPass
from mlpasses.config import NM, Magnitude, Palettize, Quantize
from mlpasses.errors import ConfigError
from mlpasses.manager import Result, run
from mlpasses.raising import RaiseOpset
from tests.compress.models import assert_decoded_alike, assert_planned, interface
from tests.corpus import NAMES, REAL, REFUSED, Corpus, full

SETTINGS: Final[list[Any]] = [
    pytest.param(IOS16, QuantizeWeights(Quantize("uint8", "asymmetric", min_elements=64)), id="quantize"),
    pytest.param(
        IOS18,
        QuantizeWeights(Quantize("int4", "asymmetric", "per-block", 32, "searched", indivisible="shrink", min_elements=64)),
        id="quantize-iOS18",
    ),
    pytest.param(IOS16, PalettizeWeights(Palettize(4, min_elements=64)), id="palettize"),
    pytest.param(IOS18, PalettizeWeights(Palettize(3, group_size=16, indivisible="shrink", min_elements=64)), id="palettize-iOS18"),
    pytest.param(IOS16, PruneWeights(Magnitude(0.6, min_elements=64)), id="prune"),
    pytest.param(IOS18, PruneWeights(NM(2, 4, min_elements=64)), id="prune-iOS18"),
]

PART: Final = (
    "basic_pitch_nmp", "dtln_aec_128_part1", "multifunction_tiny", "silero_vad_256ms_mixed", "silero_vad_256ms_pruned_int8",
    "silero_vad_unified_palette_4bit", "silero_vad_unified_int8", "tts_encoder_int8", "yunet",
)  # fmt: skip
"""Several functions, lstm, conv, nested blocks, shared blobs, all kinds of compressed weights: what the default run has in all settings."""
CASES: Final = [
    pytest.param(
        name, *setting.values, id=f"{name}-{setting.id}",
        marks=[] if name in PART or (name in REAL and number % len(SETTINGS) == place) else [full],
    )
    for number, name in enumerate(NAMES)
    for place, setting in enumerate(SETTINGS)
]  # fmt: skip
"""Of the other packages that come with weights, the default run has one setting each."""


def raised(program: Program, least: Opset) -> Program:
    """The program, for an opset if it is written for an older one."""
    opsets = [opset_of_key(function.opset) for function in program.all_functions()]
    needed = any(opset is not None and opset < least for opset in opsets)
    return run(program, RaiseOpset(least)).program if needed else program


def prepared(program: Program, least: Opset, weight_pass: WeightPass) -> Program:
    """What the pass may run on: with dense weights, where there is no joint form of those that are compressed already."""
    start = raised(program, least)
    findings = weight_pass.plan(start).findings
    if not findings:
        return start
    with pytest.raises(ConfigError):
        run(start, weight_pass)
    return run(start, DecompressWeights()).program


def constants(program: Program) -> Iterator[tuple[tuple[str, str, str], Tensor]]:
    """Every tensor that a const or constexpr op holds, by its place."""
    for _, where, op in placed_ops(program):
        if op.op_type == "const" or op.op_type.startswith("constexpr_"):
            for parameter, literal in _literals(op):
                if literal.is_tensor:
                    yield (where, op.outputs[-1].name, parameter), literal.tensor


def _literals(op: Op) -> Iterator[tuple[str, Const]]:
    yield from op.attributes.items()
    for parameter, held in op.operands.items():
        literal = constant_of(held[0])
        if literal is not None:
            yield parameter, literal


def altered(start: Program, result: Result, saved: Program) -> list[str]:
    """The constants that the report does not say to be compressed, and that are not what they were."""
    compressed = {row.key for row in result.report.weights if row.skipped is None}
    parts = {
        (where, source.name)
        for _, where, op in placed_ops(start)
        if (where, op.outputs[-1].name if op.outputs else "") in compressed
        for source in _chain(op)
    }
    after = dict(constants(saved))
    return [
        f"{place}"
        for place, tensor in constants(start)
        if place[:2] not in parts and (place not in after or not same_tensor(tensor, after[place]))
    ]


def _chain(op: Op) -> Iterator[Any]:
    """The outputs of an op, and of the constant ops behind it."""
    yield from op.outputs
    if op.op_type.startswith("constexpr_"):
        for held in op.operands.values():
            for operand in held:
                if not isinstance(operand, Const) and operand.op is not None:
                    yield from _chain(operand.op)


@pytest.mark.skipif(not NAMES, reason="there are no packages")
@pytest.mark.parametrize(("name", "least", "weight_pass"), CASES)
def test_package_is_sound_and_read_by_coremltools_and_the_rest_of_it_is_the_same_to_the_bit(
    corpus: Corpus, name: str, least: Opset, weight_pass: WeightPass, tmp_path: Path
) -> None:
    start = prepared(load_program(corpus.path(name)), least, weight_pass)
    plan = weight_pass.plan(start).checked()
    result = run(start, weight_pass)
    path = result.save(tmp_path / "m.mlpackage")
    saved = load_program(path)
    structure.verify(saved)
    specification.verify(saved)
    assert interface(saved) == interface(start)
    assert_planned(plan, result.report.weights, saved)
    assert altered(start, result, saved) == []
    assert sum(row.after for row in result.report.weights) <= sum(row.before for row in result.report.weights)
    if name not in REFUSED:
        assert_decoded_alike(saved, path, least=0)
