"""What a pass is given besides the program: where to say what it did, and what it may use to do it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from attrs import Factory, define, field

from ir.core import Block, Function, Op
from ir.opset import Opset, opset_of_key
from ir.walk import opset_of
from mlpasses.report import Note, OpRow, WeightRow

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from mlpasses.passes import Pass
    from mlpasses.rewrite.rewriter import Rewriter


class Versioned(Protocol):
    """A block, a function or a program: its version grows with every change of anything in it."""

    @property
    def version(self) -> int: ...


Subject = TypeVar("Subject", bound=Versioned)
Found = TypeVar("Found")


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
    executor: Executor | None = None
    """Who works on weights in place of threads of our own: processes, or a cluster."""
    scratch: Path | None = None
    """The folder of scratch files; None for the system's temporary one."""
    pass_name: str = ""
    """The pass that is running."""
    lasting: bool = False
    """Whether no pass behind it replaces weights, so that those it computes are those that will be saved."""
    notes: list[Note] = field(factory=list)
    weights: list[WeightRow] = field(factory=list)
    ops: list[OpRow] = field(factory=list)
    touched: dict[Op, None] = field(factory=dict)
    """The ops that the running pass made or changed, for the verifier."""
    unsure: dict[tuple[str, str], str] = field(factory=dict)
    """In a plan: the weights, by their place, that an earlier pass may leave as they are, with the pass and what that depends on."""
    around: list[Frame] = field(factory=list)
    """The passes that the running one is part of, the outermost first."""
    _rewriter: Rewriter | None = None
    _analyses: dict[tuple[Callable[..., Any], object], tuple[int, Any]] = field(factory=dict)

    def begin(self, pass_name: str, *, lasting: bool = False) -> None:
        """Another pass is running now."""
        self.pass_name = pass_name
        self.lasting = lasting
        self.touched.clear()
        self._rewriter = None

    @property
    def rewriter(self) -> Rewriter:
        """Replaces, inserts and erases ops with their types checked, visible names kept, and every change told to `made`.

            rw = cx.rewriter.at(op)                          # what it makes stands before op
            rw.replace(op, rw.op("square", x=op["x"]))
        """
        if self._rewriter is None:
            from mlpasses.rewrite.rewriter import Rewriter  # rewriters know contexts

            self._rewriter = Rewriter(self)
        return self._rewriter

    def anchored(self, op: Op) -> Rewriter:
        """Lets the ops that `rewriter` makes stand before `op` from now on."""
        self._rewriter = self.rewriter.at(op)
        return self._rewriter

    def opset(self, at: Op | Block | Function) -> Opset | None:
        """The opset that something is written for: that of the specialization it is in, or of a function's active one.

        None for one that this version does not know, and for what is detached.
        """
        if isinstance(at, Function):
            return opset_of_key(at.opset)
        return opset_of(at.block if isinstance(at, Op) else at)

    def analysis(self, compute: Callable[[Subject], Found], of: Subject) -> Found:
        """`compute(of)`: the last result where nothing in the block, function or program has changed since.

        `compute` is a function by name (a new lambda is another analysis each time), and looks at nothing outside of `of`.
        """
        version = of.version
        known = self._analyses.get((compute, of))
        if known is not None and known[0] == version:
            found: Found = known[1]
            return found
        found = compute(of)
        self._analyses[compute, of] = version, found
        return found

    def note(self, where: str, reason: str) -> None:
        """Says that something was left alone, or dropped, and why. Nothing is skipped without."""
        self.notes.append(Note(self.pass_name, where, reason))

    def weight(self, row: WeightRow) -> None:
        """Reports what became of a weight."""
        self.weights.append(row)

    def made(self, *ops: Op, rule: str = "", sources: Iterable[Op] = ()) -> None:
        """Tells of ops that the pass made or changed: the verifier looks at them, and those without an origin get one."""
        names = tuple([source.name for source in sources])
        for op in ops:
            self.touched[op] = None
            if op.origin is None:
                op.origin = Origin(self.pass_name, rule, names)


@define(frozen=True)
class Origin:
    """Who made an op: a pass, its rule where it has several, and the names of the ops that it was made from."""

    pass_name: str
    rule: str = ""
    sources: tuple[str, ...] = ()
