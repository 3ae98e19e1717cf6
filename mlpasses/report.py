"""What a run did: a row for each weight, a note for everything that was left alone, a line for each pass."""

from __future__ import annotations

import math
from typing import Any

from attrs import asdict, define, field, frozen


@frozen
class Note:
    """Something that a pass left alone, or dropped, and why."""

    pass_name: str
    where: str
    reason: str


@frozen
class WeightRow:
    """What became of one weight in one pass.

    `before` and `after` are bytes as they lie in the file, everything that the weight needs counted (data, scales, tables).
    """

    pass_name: str
    name: str
    op_type: str
    """The type of the op that uses the weight, the first where there are several."""
    shape: tuple[int, ...]
    scheme: str
    """What it is now: `int8 per-channel symmetric`; the old scheme where it was skipped."""
    before: int
    after: int
    sqnr: float | None = None
    """Signal to quantization noise, 10·log10(Σw² / Σ(w-ŵ)²), in dB; infinite where nothing was lost, None where it was not measured."""
    max_error: float | None = None
    """max |w-ŵ|, in the weight's own units."""
    skipped: str | None = None
    """Why the weight was left alone; None where it was not."""
    rule: str = ""
    """The rule that decided; empty where there is one for everything, or none matched."""
    where: str = ""
    """The function, with stage, specialization and nested blocks as far as there are several: names are unique in one place only."""
    lut_used: float | None = None
    """The share of the entries of its tables that are used; None where it has no table."""
    sparsity: float | None = None
    """The share of its elements that a sparse form leaves out; None where it is in no such form."""
    remark: str = ""
    """What was done otherwise than the config asks for, and why."""

    @property
    def key(self) -> tuple[str, str]:
        """What tells the weight from all others of the program."""
        return self.where, self.name

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def bits(self) -> float:
        """Bits per weight, everything counted."""
        return 8 * self.after / self.numel if self.numel else 0.0


@frozen
class OpRow:
    """What a pass over ops made of one of them; in a plan, what it would."""

    pass_name: str
    name: str
    op_type: str
    config: str
    """The config that its rules chose, as the source that makes it."""
    rule: str = ""
    """The rule that decided; empty where there is one for everything."""
    changes: int | None = None
    """How many changes it took; None where a plan cannot say."""
    why: str = ""
    """Why a plan cannot."""
    where: str = ""
    """The function, with stage, specialization and nested blocks as far as there are several."""


@frozen
class PassRow:
    """One pass of a run: how long it took, and how many changes it made."""

    name: str
    seconds: float
    changes: int
    peak_memory: int | None = None
    """Peak resident memory of the process after the pass, in bytes, mapped files counted."""


@define
class Report:
    """The account of a run, in the order in which things happened. `str` gives the closing table."""

    passes: list[PassRow] = field(factory=list)
    weights: list[WeightRow] = field(factory=list)
    notes: list[Note] = field(factory=list)
    ops: list[OpRow] = field(factory=list)

    @property
    def before(self) -> int:
        """Bytes of the reported weights before their first change."""
        return sum({row.key: row.before for row in reversed(self.weights)}.values())

    @property
    def after(self) -> int:
        """Bytes of the reported weights after their last change."""
        return sum({row.key: row.after for row in self.weights}.values())

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data, for JSON; what is infinite or NaN (a SQNR, an error) is a string, "inf"."""
        data: dict[str, Any] = {
            "passes": [asdict(row) for row in self.passes],
            "weights": [
                {**asdict(row), "bits": row.bits, "sqnr": finite(row.sqnr), "max_error": finite(row.max_error)} for row in self.weights
            ],
            "notes": [asdict(note) for note in self.notes],
            "ops": [asdict(row) for row in self.ops],
            "before": self.before,
            "after": self.after,
        }
        for row in data["weights"]:
            row["shape"] = list(row["shape"])
        return data

    def __str__(self) -> str:
        from mlpasses.tables import report_table  # rich takes a while to import, and most callers print nothing

        return report_table(self)


def finite(value: float | None) -> float | str | None:
    """A number as JSON can hold it: the string "inf", "-inf" or "nan" for what is not finite."""
    return str(value) if value is not None and not math.isfinite(value) else value
