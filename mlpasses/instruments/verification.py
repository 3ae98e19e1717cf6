"""The check after every pass, which is always on."""

from __future__ import annotations

from ir.core import Program
from ir.diagnostics import InvalidProgramError
from ir.verify import specification, structure
from mlpasses.context import Context
from mlpasses.errors import PassError
from mlpasses.instruments import Instrument
from mlpasses.passes import Pass


class Verification(Instrument):
    """The structure of the whole program, and the specification of the ops that the pass touched.

    Raises:
        PassError: the pass left an invalid program.
    """

    def after(self, each: Pass, program: Program, context: Context, changes: int) -> None:
        try:
            structure.verify(program)
            specification.verify(op for op in context.touched if op.block is not None)
        except InvalidProgramError as error:
            raise PassError(f"pass {each.name} left an invalid program:\n{error}") from error
