"""The check after every pass, which is always on."""

from __future__ import annotations

from ir.core import Program
from ir.diagnostics import InvalidProgramError, Problem
from ir.verify import new_problems, raise_problems, specification, structure
from mlpasses.context import Context
from mlpasses.contract import Signatures, broken, signatures
from mlpasses.errors import PassError
from mlpasses.instruments import Instrument
from mlpasses.passes import Pass


class Verification(Instrument):
    """The structure of the whole program, the specification of the ops that the pass touched, and what it said it would preserve.

    Not after a pass that changed nothing, which the manager has made sure of by the program's version. `original` is the program as it was
    handed in: what was wrong with an op then is not the pass' doing, and gets a note.

    Raises:
        PassError: the pass left an invalid program, or changed what it preserves.
    """

    def __init__(self, original: Program) -> None:
        self._original = original
        self._before: list[Problem] | None = None
        self._names: list[Problem] | None = None
        self._signatures: Signatures = {}

    def before(self, each: Pass, program: Program, context: Context) -> None:
        self._signatures = signatures(program)

    def after(self, each: Pass, program: Program, context: Context, changes: int) -> None:
        if not changes:
            return
        try:
            raise_problems(new_problems(_structural(program, context), self._illegal_names()))
            found = specification.problems(op for op in context.touched if op.block is not None)
            if found:
                self._judge(found, context)
        except InvalidProgramError as error:
            raise PassError(f"pass {each.name} left an invalid program:\n{error}") from error
        changed = broken(self._signatures, signatures(program), each.kept())
        if changed:
            kept = " and ".join(sorted(word.value for word in each.kept()))
            raise PassError(f"pass {each.name} says that it preserves {kept} (`preserves`), but {'; '.join(changed)}")

    def _illegal_names(self) -> list[Problem]:
        """The names that the program was handed in with and that no file can hold, which is no pass' doing; its only structural faults."""
        if self._names is None:
            self._names = structure.problems(self._original)
        return self._names

    def _judge(self, found: list[Problem], context: Context) -> None:
        """Raises for those that are new. The original is looked at here, where it matters: most programs never come this far."""
        if self._before is None:
            self._before = specification.problems(self._original)
        new = new_problems(found, self._before)
        raise_problems(new)
        for problem in found:
            context.note("the program", f"it was handed in with this fault: {problem.message}")


def _structural(program: Program, context: Context) -> list[Problem]:
    """What is wrong with the structure. Functions in which nothing changed since the last look are not looked at again."""
    inside = [problem for function in program.all_functions() for problem in context.analysis(structure.problems, function)]
    return [*structure.problems_around(program), *inside]
