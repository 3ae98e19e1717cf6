"""How long each pass took, and what it did to the peak of the process' memory."""

from __future__ import annotations

from time import perf_counter

from ir.core import Program
from mlpasses.context import Context
from mlpasses.instruments import Instrument
from mlpasses.passes import Pass
from mlpasses.report import PassRow, Report


class Timing(Instrument):
    """Adds a row for each pass to a report."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._started = 0.0

    def before(self, each: Pass, program: Program, context: Context) -> None:
        self._started = perf_counter()

    def after(self, each: Pass, program: Program, context: Context, changes: int) -> None:
        self._report.passes.append(PassRow(each.name, perf_counter() - self._started, changes, peak_memory()))


def peak_memory() -> int | None:
    """The peak resident memory of this process so far, in bytes; None where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
