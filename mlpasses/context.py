"""What a pass is given besides the program: where to say what it did, and what it may use to do it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from attrs import Factory, define, field

from ir.core import Op
from mlpasses.report import Note, WeightRow

if TYPE_CHECKING:
    from mlpasses.passes import Pass


class Progress(Protocol):
    """Who wants to know how far a pass is. Called from the thread that runs the pipeline."""

    def start(self, pass_name: str, total: int) -> None:
        """A pass begins work that `total` bytes of weights measure."""

    def advance(self, amount: int, what: str) -> None:
        """`amount` of them are done; `what` names the weight."""

    def finish(self) -> None:
        """The pass is through."""


class Silent:
    """The progress of someone who does not want to know."""

    def start(self, pass_name: str, total: int) -> None: ...
    def advance(self, amount: int, what: str) -> None: ...
    def finish(self) -> None: ...


@define
class Frame:
    """A pipeline, or another pass made of passes, that is running."""

    composite: Pass
    steps: int = 0
    """How many of its passes have begun, each round of a repetition counted."""


@define
class Context:
    """One run of a pipeline. Lives as long as the run does; passes keep nothing of it."""

    progress: Progress = field(factory=Silent)
    workers: int = Factory(lambda: os.cpu_count() or 1)
    """How many weights may be worked on at once. Results do not depend on it."""
    scratch: Path | None = None
    """The folder of scratch files; None for the system's temporary one."""
    pass_name: str = ""
    """The pass that is running."""
    notes: list[Note] = field(factory=list)
    weights: list[WeightRow] = field(factory=list)
    touched: dict[Op, None] = field(factory=dict)
    """The ops that the running pass made or changed, for the verifier."""
    around: list[Frame] = field(factory=list)
    """The passes that the running one is part of, the outermost first."""

    def note(self, where: str, reason: str) -> None:
        """Says that something was left alone, or dropped, and why. Nothing is skipped without."""
        self.notes.append(Note(self.pass_name, where, reason))

    def weight(self, row: WeightRow) -> None:
        """Reports what became of a weight."""
        self.weights.append(row)

    def made(self, *ops: Op, rule: str = "", sources: Iterable[Op] = ()) -> None:
        """Tells of ops that the pass made or changed: the verifier looks at them, and those without an origin get one."""
        for op in ops:
            self.touched[op] = None
            if op.origin is None:
                op.origin = Origin(self.pass_name, rule, tuple(source.name for source in sources))


@define(frozen=True)
class Origin:
    """Who made an op: a pass, its rule where it has several, and the names of the ops that it was made from."""

    pass_name: str
    rule: str = ""
    sources: tuple[str, ...] = ()
