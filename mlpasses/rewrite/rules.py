"""A rule: the algebra as a docstring, a pattern, a check that answers with a reason, a rewrite."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import field, frozen

from ir.core import Op, Operand
from mlpasses.rewrite.match import Constant, Failure, Info, Match
from mlpasses.rewrite.patterns import OpPattern, Pattern, PatternError, check, commuting, labelled

if TYPE_CHECKING:
    from mlpasses.rewrite.rewriter import Rewriter

Replacement: TypeAlias = "Operand | Constant | Op | tuple[Operand | Constant | None, ...]"
"""What stands for the results of an op: a value, a literal, an op's only output; a tuple where it has none or several."""
RuleFunction: TypeAlias = "Callable[[Match, Rewriter], Replacement | Failure | None]"


@frozen(eq=False, repr=False)
class Rule:
    """What to look for, and what to put there instead. Made by `rule`; prints as its pattern and its algebra."""

    name: str
    pattern: Pattern
    """As it was written."""
    run: RuleFunction
    algebra: str
    """The first line of the docstring: `add(linear(x, w, b), c) → linear(x, w, b + c)`."""
    roots: tuple[OpPattern, ...] = field(init=False)
    """What is matched: the alternatives for the root."""
    info: Info = field(init=False)
    commutes: bool = False

    def __attrs_post_init__(self) -> None:
        whole = labelled(commuting(self.pattern) if self.commutes else self.pattern)
        object.__setattr__(self, "roots", check(whole))
        object.__setattr__(self, "info", Info(whole))

    def __repr__(self) -> str:
        flag = ", commutes=True" if self.commutes else ""
        return f"@rule({self.pattern}{flag})  # {self.name}: {self.algebra}"


def rule(pattern: Any, *, commutes: bool = False, name: str | None = None) -> Callable[[RuleFunction], Rule]:
    """Makes a rule of a function of a match and a rewriter.

        @rule(p.transpose(x=p.transpose(x="x", perm=const("inner")), perm=const("outer")))
        def merge_transposes(m: Match, rw: Rewriter) -> Value:
            \"\"\"transpose(transpose(x, p), q) → transpose(x, p[q])\"\"\"
            return rw.op("transpose", x=m.x, perm=m.inner.numpy()[m.outer.numpy()])

    The function answers with what stands for the root's result (a tuple where it has several), or with `m.fail(reason)`; None declines
    without a reason. Checks come first: what `rw` made is forgotten where a rule fails, but a change to what was there before is not
    undone, and failing after one is an error. With `commutes`, commutative ops match with their operands in either order. The rule is
    called as the function is, in kebab case, unless `name` says otherwise.

    Raises:
        PatternError: the pattern has no op at its root, or names that contradict one another; or nothing in it commutes.
    """
    if not isinstance(pattern, Pattern):
        raise PatternError(f"a rule is made of a pattern, and {pattern!r} is none: write @rule(p.relu(x=\"x\"))")

    def made(function: RuleFunction) -> Rule:
        called = name if name is not None else function.__name__.strip("_").replace("_", "-")
        doc = (function.__doc__ or "").strip().splitlines()
        return Rule(called, pattern, function, doc[0] if doc else f"{pattern} → ?", commutes=commutes)

    return made
