"""`Cleanup` on every real package, as it is and raised to iOS18."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ir.core import Program
from ir.mil.load import load_program
from ir.opset import IOS18, Opset, opset_of_key
from ir.verify import specification, structure
from mlpasses.cleanup.cleanup import Cleanup
from mlpasses.manager import run
from mlpasses.pipeline import Pipeline
from mlpasses.raising import RaiseOpset
from tests.cleanup.check import interface
from tests.corpus import NAMES, REFUSED, Corpus, full
from tests.oracle import accepted

RAISED = (None, IOS18)
"""As it is, and raised to iOS18."""

PART = [
    ("basic_pitch_nmp", None),
    ("dtln_aec_128_part1", None),
    ("dtln_aec_128_part2_fp16", IOS18),
    ("hifigan_int8", None),
    ("kokoro_duration", IOS18),
    ("mosaic", IOS18),
    ("multifunction_tiny", None),
    ("silero_vad_256ms_mixed", None),
    ("silero_vad_256ms_palette_6bit", IOS18),
    ("silero_vad_unified_pruned_int8", IOS18),
    ("tts_encoder_int8", None),
]
"""Nested blocks and lists, several functions, compressed weights in both forms, unknown dimensions: what coremltools is asked about in the
default run."""


def cleaned(program: Program, target: Opset | None) -> Program:
    return run(program, Pipeline(*raising(program, target), Cleanup())).program


def raising(program: Program, target: Opset | None) -> list[RaiseOpset]:
    """What raises a program, unless it is written for the target or a later one."""
    opsets = [opset_of_key(function.opset) for function in program.all_functions()]
    return [] if target is None or all(opset is not None and opset >= target for opset in opsets) else [RaiseOpset(target)]


@pytest.mark.parametrize("target", RAISED, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_package_is_valid_and_has_its_interface_and_is_at_a_fixed_point(corpus: Corpus, name: str, target: Opset | None) -> None:
    program = load_program(corpus.path(name))
    start = run(program, Pipeline(*raising(program, target))).program
    result = run(start, Cleanup()).program
    structure.verify(result)
    specification.verify(result)
    assert interface(result) == interface(start)
    assert sum(1 for _ in result.ops()) <= sum(1 for _ in start.ops())
    assert sum(row.changes for row in run(result, Cleanup()).report.passes) == 0


def check_accepted(path: Path, target: Opset | None, folder: Path) -> None:
    """coremltools takes the cleaned package, and sees the same interface in it as in the package."""
    result = cleaned(load_program(path), target).save(folder / "clean.mlpackage")
    assert list(map(_signature, accepted(result))) == list(map(_signature, accepted(path)))


def _signature(program: object) -> dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]]]]:
    """The functions of a coremltools program with their inputs and outputs, names and types; its own symbols for unknown sizes are `?`."""
    return {
        name: (
            [(given, _shown(value.sym_type)) for given, value in function.inputs.items()],
            [(value.name, _shown(value.sym_type)) for value in function.outputs],
        )
        for name, function in program.functions.items()  # type: ignore[attr-defined]  # coremltools is untyped
    }


def _shown(kind: object) -> str:
    return re.sub(r"\bis\d+\b", "?", str(kind))


@pytest.mark.skipif(not NAMES, reason="there are no packages")
@pytest.mark.parametrize(("name", "target"), PART)
def test_coremltools_accepts_the_cleaned_package(corpus: Corpus, name: str, target: Opset | None, tmp_path: Path) -> None:
    check_accepted(corpus.path(name), target, tmp_path)


@full
@pytest.mark.parametrize("target", RAISED, ids=str)
@pytest.mark.parametrize("name", [name for name in NAMES if name not in REFUSED])
def test_coremltools_accepts_every_cleaned_package(corpus: Corpus, name: str, target: Opset | None, tmp_path: Path) -> None:
    check_accepted(corpus.path(name), target, tmp_path)
