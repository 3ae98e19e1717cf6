"""The check after every pass: what a pass broke is an error, what a program came with is not, and nothing is looked at twice."""

from __future__ import annotations

import pytest
from attrs import frozen

from ir.core import Function, Program
from ir.diagnostics import InvalidProgramError
from ir.verify import structure
from mlpasses.cleanup.dce import DeadCode
from mlpasses.cleanup.names import SanitizeNames
from mlpasses.context import Context
from mlpasses.errors import PassError
from mlpasses.manager import run
from mlpasses.passes import FunctionPass
from mlpasses.pipeline import Pipeline
from tests.cleanup.check import fragment

TEXT = """inputs %x: fp16[4]
          %a: fp16[4] = exp(x=%x)
          %b: fp16[4] = relu(x=%x)
          %y: fp16[4] = relu(x=%b)
          return %y"""


@frozen
class RenameIn(FunctionPass):
    """Renames the ops of one function."""

    function: str = "main"
    to: str = "renamed"

    def run(self, fn: Function, cx: Context) -> int:
        if fn.name != self.function:
            return 0
        next(fn.ops("relu")).output.rename(self.to)
        return 1


def misnamed() -> Program:
    program = fragment(TEXT)
    next(program.ops("relu")).output.rename("block/0:relu")
    return program


def test_program_with_illegal_names_runs_and_a_pass_may_mend_them() -> None:
    result = run(misnamed(), Pipeline(DeadCode(), SanitizeNames()))
    assert structure.problems(result.program) == []
    assert [op.output.name for op in result.program.ops()] == ["block_0_relu", "y"]
    assert not result.report.notes


def test_names_that_are_left_have_a_note() -> None:
    notes = run(misnamed(), DeadCode()).report.notes
    assert [(note.where, note.reason) for note in notes] == [
        (
            "the program",
            "value name 'block/0:relu' is no identifier, as it was handed in: it cannot be saved, and SanitizeNames gives it another name",
        )
    ]


def test_illegal_name_that_a_pass_makes_is_an_error() -> None:
    with pytest.raises(PassError, match=r"(?s)rename-in left an invalid program:.*value name 'no way' is no identifier"):
        run(misnamed(), RenameIn(to="no way"))


def test_other_faults_are_refused_at_once() -> None:
    program = misnamed()
    first, last = program.main.body.first, program.main.body.last
    assert first is not None
    assert last is not None
    last.move_before(first)
    with pytest.raises(InvalidProgramError, match="before relu b defines it"):
        run(program, SanitizeNames())


def test_function_in_which_nothing_changed_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    program = fragment(TEXT)
    for name in ("second", "third"):
        program.add_function(program.main.clone(name))
    looked: list[str] = []
    problems = structure.problems

    def counted(root: Program | Function) -> object:
        if isinstance(root, Function):
            looked.append(root.name)
        return problems(root)

    monkeypatch.setattr(structure, "problems", counted)
    run(program, Pipeline(RenameIn("main"), RenameIn("second"), RenameIn("main", to="again")))
    assert looked == ["main", "second", "third", "second", "main"]
