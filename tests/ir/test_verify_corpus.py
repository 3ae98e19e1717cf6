"""Real programs are sound at both depths, and stay so when cloned, compared and walked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ir.compare import first_difference
from ir.core import Program
from ir.mil.load import load_program
from ir.verify import specification, structure
from ir.walk import topological_order, walk

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"

pytestmark = pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not here")


def packages() -> list[Path]:
    return sorted(path.relative_to(CORPUS) for path in CORPUS.glob("**/*.mlpackage"))


@pytest.fixture(scope="module", params=packages(), ids=lambda path: path.stem)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Program:
    path = CORPUS / request.param
    if "graph-only" in path.parts:
        filled = tmp_path_factory.mktemp("filled") / path.name
        subprocess.run([sys.executable, CORPUS / "graph-only" / "fill_weights.py", path, filled], check=True, capture_output=True)
        path = filled
    return load_program(path)


def test_its_structure_is_sound(program: Program) -> None:
    assert structure.problems(program) == []


def test_it_keeps_to_its_specification(program: Program) -> None:
    assert specification.problems(program) == []


def test_its_clone_is_sound_and_the_same(program: Program) -> None:
    copy = program.clone()
    assert structure.problems(copy) == []
    assert first_difference(program, copy) is None


def test_its_order_is_its_topological_order(program: Program) -> None:
    assert all(topological_order(block) == list(block) for block in program.blocks())


def test_a_walk_meets_every_op_once(program: Program) -> None:
    walked = list(walk(program))
    assert len(walked) == len(set(walked)) == sum(len(block) for block in program.blocks())
