"""What each pass did in numbers: ops added and removed by type, and how often each rule fired."""

from __future__ import annotations

from collections import Counter
from typing import Any

from attrs import field, frozen

from ir.core import Op, Program
from ir.walk import walk
from mlpasses.context import Context, Origin
from mlpasses.instruments import Instrument
from mlpasses.passes import Pass


@frozen
class PassStatistics:
    """The numbers of one pass."""

    name: str
    added: Counter[str]
    """New ops by type."""
    removed: Counter[str]
    """Ops that are gone, by type."""
    rules: Counter[str] = field(factory=Counter)
    """New ops by the rule that made them, where the pass has rules."""

    def as_dict(self) -> dict[str, Any]:
        """The numbers as plain data, for JSON."""
        return {"pass": self.name, "added": dict(self.added), "removed": dict(self.removed), "rules": dict(self.rules)}

    def __str__(self) -> str:
        parts = [f"+{count} {name}" for name, count in self.added.most_common()]
        parts += [f"-{count} {name}" for name, count in self.removed.most_common()]
        fired = [f"{name} {count}" for name, count in self.rules.most_common()]
        text = f"{self.name}: {', '.join(parts) or 'no op added or removed'}"
        return f"{text}; rules: {', '.join(fired)}" if fired else text


class Statistics(Instrument):
    """Counts in `rows`, one for each pass that ran. Ops are told apart by identity, so a replaced one is one gone and one new."""

    def __init__(self) -> None:
        self.rows: list[PassStatistics] = []
        self._ops: dict[Op, None] = {}
        self._version = -1

    def before(self, each: Pass, program: Program, context: Context) -> None:
        if program.version != self._version:
            self._ops, self._version = dict.fromkeys(walk(program)), program.version

    def after(self, each: Pass, program: Program, context: Context, changes: int) -> None:
        if program.version == self._version:
            self.rows.append(PassStatistics(each.name, Counter(), Counter()))
            return
        old, self._ops, self._version = self._ops, dict.fromkeys(walk(program)), program.version
        new = [op for op in self._ops if op not in old]
        origins = [op.origin for op in new if isinstance(op.origin, Origin) and op.origin.rule]
        self.rows.append(
            PassStatistics(
                each.name,
                Counter(op.op_type for op in new),
                Counter(op.op_type for op in old if op not in self._ops),
                Counter(origin.rule for origin in origins),
            )
        )
