"""Every real package, to every later target."""

from __future__ import annotations

from pathlib import Path

import pytest

from ir.core import Program, constant_of
from ir.mil.load import load_program
from ir.opset import OPSETS, Opset, opset_of_key
from ir.tensors import Tensor
from ir.text import to_text
from ir.verify import specification, structure
from mlpasses.context import Context
from mlpasses.raising import RaiseOpset
from tests.corpus import NAMES, REFUSED, Corpus, full
from tests.opset.check import later, raised
from tests.oracle import accepted, decompressed_values, same_bits

PART = [
    ("basic_pitch_nmp", "iOS26"),
    ("dtln_aec_128_part1", "iOS17"),
    ("mosaic", "iOS17"),
    ("multifunction_tiny", "iOS26"),
    ("silero_vad_256ms_mixed", "iOS18"),
    ("silero_vad_unified_int8", "iOS26"),
    ("silero_vad_unified_palette_4bit", "iOS18"),
    ("silero_vad_256ms_palette_6bit", "iOS18"),
    ("silero_vad_unified_pruned_int8", "iOS18"),
    ("stub_bge_base_fp16", "iOS18"),
    ("kokoro_duration", "iOS17"),
]
"""Each form of weight, nested blocks, several functions, guards: what coremltools is asked about in the default run."""


def lowest(program: Program) -> Opset:
    opsets = [opset_of_key(function.opset) for function in program.all_functions()]
    return min(opset for opset in opsets if opset is not None)


def tensors(program: Program) -> dict[str, Tensor]:
    """The tensor of each `const`, by its name and function."""
    found = {}
    for function in program.all_functions():
        for op in function.ops("const"):
            literal = constant_of(op.output)
            if literal is not None and literal.is_tensor:
                found[f"{function.name}/{op.output.name}"] = literal.tensor
    return found


@pytest.mark.parametrize("name", NAMES)
def test_package_is_raised_to_every_later_target(corpus: Corpus, name: str) -> None:
    program = load_program(corpus.path(name))
    before = to_text(program).text
    for target in later(lowest(program)):
        result = program.clone()
        assert RaiseOpset(target).apply(result, Context()) > 0
        structure.verify(result)
        specification.verify(result)
        assert {function.opset for function in result.all_functions()} == {target.key}
        kept, weights = tensors(result), tensors(program)
        assert [key for key in weights if kept.get(key) is not weights[key]] == []
        version = result.version
        assert (RaiseOpset(target).apply(result, Context()), result.version) == (0, version)
    assert to_text(program).text == before


@pytest.mark.parametrize("name", NAMES)
def test_raising_step_by_step_gives_what_raising_at_once_does(corpus: Corpus, name: str) -> None:
    program = load_program(corpus.path(name))
    at_once = raised(program, OPSETS[-1])
    for target in later(lowest(program)):
        program = raised(program, target)
    assert to_text(program).text == to_text(at_once).text


def check_accepted(path: Path, target: Opset, folder: Path) -> None:
    program = load_program(path)
    if lowest(program) >= target:
        return
    result = raised(program, target).save(folder / "raised.mlpackage")
    accepted(result)
    before, after = decompressed_values(path), decompressed_values(result)
    assert before.keys() == after.keys()
    assert [name for name in before if not same_bits(before[name], after[name])] == []


@pytest.mark.skipif(not NAMES, reason="there are no packages")
@pytest.mark.parametrize(("name", "target"), PART)
def test_raised_package_is_accepted_and_decompressed_to_the_same_bits(corpus: Corpus, name: str, target: str, tmp_path: Path) -> None:
    check_accepted(corpus.path(name), RaiseOpset(target).target, tmp_path)


@full
@pytest.mark.parametrize("target", OPSETS[1:], ids=str)
@pytest.mark.parametrize("name", [name for name in NAMES if name not in REFUSED])
def test_every_raised_package_is_accepted_and_decompressed_to_the_same_bits(
    corpus: Corpus, name: str, target: Opset, tmp_path: Path
) -> None:
    check_accepted(corpus.path(name), target, tmp_path)
