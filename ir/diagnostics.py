"""The exceptions of mlpasses, and the problems that a check collects.

Every error that reaches a user derives from `MLPassesError`. Its text is one or more sentences: what was found, where, and the nearest
fix. The command line turns the class into its exit code; nothing else depends on the class hierarchy being deep, so it is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from ir.core import Block, Function, Op, Value


class MLPassesError(Exception):
    """Base of all errors that mlpasses raises on purpose."""


class PackageError(MLPassesError):
    """The package, its manifest, its protobuf or its weight file cannot be read or written: bad input."""


class UnsupportedModelError(MLPassesError):
    """The file is sound, but it is no ML Program (a neural network, a tree ensemble, …)."""


class ParseError(MLPassesError):
    """The text form of a program is wrong. `line` and `column` count from 1."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(f"{line}:{column}: {message}")
        self.line = line
        self.column = column


class MutationError(MLPassesError):
    """A change was refused because it would break an invariant of the IR. The program is as it was."""


class EvaluationError(MLPassesError):
    """A constant expression cannot be evaluated: its operands do not fit its definition."""


class AbstractError(EvaluationError):
    """The numbers of a tensor were asked for that stands for one which has not been computed: a plan reads no weights."""


@frozen
class Problem:
    """One thing that is wrong with a program: what, at which op (or value, block, function), and the nearest fix."""

    message: str
    where: Op | Value | Block | Function | None = None
    fix: str | None = None


@frozen
class IllegalName(Problem):
    """A value has a name that no file can hold. Nothing depends on it but what is called by it: another name mends it."""


class InvalidProgramError(MLPassesError):
    """A program breaks an invariant. `problems` holds all that were found, not only the first."""

    def __init__(self, problems: Sequence[Problem], text: str | None = None) -> None:
        self.problems = tuple(problems)
        super().__init__(text if text is not None else "\n".join(p.message for p in problems))
