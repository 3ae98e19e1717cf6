"""Instruments watch a run from outside: what a pass does never depends on them.

Each is told before and after every pass, and when one fails. Derive from `Instrument` and override what is of interest.
"""

from __future__ import annotations

from ir.core import Program
from ir.diagnostics import MLPassesError
from mlpasses.context import Context
from mlpasses.passes import Pass


class Instrument:
    """Someone who watches a run. One instance watches one run at a time."""

    def before(self, each: Pass, program: Program, context: Context) -> None:
        """A pass is about to run."""

    def after(self, each: Pass, program: Program, context: Context, changes: int) -> None:
        """A pass has run, and made so many changes."""

    def failed(self, each: Pass, program: Program, context: Context, error: MLPassesError) -> None:
        """A pass raised, or what it left is invalid. The run ends with `error`."""
