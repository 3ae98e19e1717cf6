"""What a pass is.

A pass is a frozen attrs class: its fields are its options, its class is its name (`QuantizeWeights` is `quantize-weights` in recipes and
on the command line), and it holds no state, so one instance may run on any number of programs. It is handed a program that satisfies the
verifier, leaves one that does, and answers with the number of changes that it made: 0 means that it changed nothing, and is checked.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from ir.core import Function, Program
from ir.opset import Opset
from mlpasses.context import Context
from mlpasses.contract import Preserved

if TYPE_CHECKING:
    from mlpasses.plan import Plan


def kebab(name: str) -> str:
    """`QuantizeWeights` → `quantize-weights`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()


class Pass(ABC):
    """A transformation of a program.

    Derive from `ProgramPass` or `FunctionPass`, decorate with `attrs.frozen`, and write `run`.
    """

    name: ClassVar[str] = "pass"
    """The name in recipes, reports and on the command line: the class name in kebab case."""
    min_opset: ClassVar[Opset | None] = None
    """The first opset that the pass knows what to do with. A run refuses a program with a function for an older one; None for any."""
    preserves: ClassVar[frozenset[Preserved]] = frozenset({Preserved.INTERFACE})
    """What the pass leaves as it was. A pass that is there to change the interface says so by an empty set."""
    replaces_weights: ClassVar[bool] = False
    """Whether it computes weights anew, from those that earlier passes left: what the last such pass computes is what will be saved."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in vars(cls):
            cls.name = kebab(cls.__name__)

    @abstractmethod
    def apply(self, program: Program, context: Context) -> int:
        """Transforms `program` in place; answers with the number of changes."""

    def kept(self) -> frozenset[Preserved]:
        """What this pass leaves as it was, with the options that it has: for a pipeline, what all of its passes do."""
        return self.preserves

    def plan(self, program: Program, *, exact: bool = False) -> Plan:
        """What the pass, or pipeline, would do to `program`, which does not change. No weight is read unless `exact`.

        See `mlpasses.plan.make_plan`.
        """
        from mlpasses.plan import make_plan  # plans know passes, and passes know plans by this name only

        return make_plan(program, self, exact=exact)

    def __str__(self) -> str:
        """The pass, or the passes of a pipeline, on one line, as `mlpasses.parse_pipeline` reads it; `repr` where no recipe can say it."""
        from mlpasses.errors import ConfigError
        from mlpasses.recipe import pipeline_text  # recipes know passes

        try:
            return pipeline_text(self)
        except ConfigError:
            return repr(self)

    @classmethod
    def summary(cls) -> str:
        """The first line of the docstring: what the pass does."""
        lines = (cls.__doc__ or "").strip().splitlines()
        return lines[0] if lines else ""


class ProgramPass(Pass):
    """A pass over a whole program: all functions, and the stages of a pipeline of models."""

    @abstractmethod
    def run(self, program: Program, cx: Context) -> int:
        """Transforms `program` in place; answers with the number of changes."""

    def apply(self, program: Program, context: Context) -> int:
        return self.run(program, context)


class FunctionPass(Pass):
    """A pass that sees one function at a time: every function of the program, and of the stages of a pipeline of models."""

    @abstractmethod
    def run(self, fn: Function, cx: Context) -> int:
        """Transforms one function in place, all its specializations and nested blocks; answers with the number of changes."""

    def apply(self, program: Program, context: Context) -> int:
        return sum(self.run(function, context) for function in program.all_functions())
