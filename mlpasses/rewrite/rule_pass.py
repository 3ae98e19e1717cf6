"""`RewritePass`: a pass that is a list of rules."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen

from ir.core import Function
from mlpasses.context import Context
from mlpasses.passes import FunctionPass
from mlpasses.rewrite.driver import Limits, Outcome, rewrite
from mlpasses.rewrite.index import RuleSet
from mlpasses.rewrite.rules import Rule


@frozen
class RewritePass(FunctionPass):
    """Applies its rules until none applies. Derive, decorate with `attrs.frozen`, and list the rules in the order of their priority.

        @frozen
        class MergeTransposes(RewritePass):
            \"\"\"transpose(transpose(x, p), q) → transpose(x, p[q])\"\"\"

            rules: ClassVar = (merge_transposes,)

    Fields are options, as in every pass; the rules see the pass as `m.options`.
    """

    rules: ClassVar[tuple[Rule, ...]] = ()
    limits: ClassVar[Limits] = Limits()
    _rule_set: ClassVar[RuleSet] = RuleSet(())

    def __init_subclass__(cls) -> None:
        """Compiles the rules.

        Raises:
            PatternError: two of them have one name.
        """
        super().__init_subclass__()
        cls._rule_set = RuleSet(cls.rules)

    def run(self, fn: Function, cx: Context) -> int:
        return self.rewrite(fn, cx).rewrites

    def rewrite(self, fn: Function, cx: Context, *, stop_after: int | None = None) -> Outcome:
        """As `run`, or only the first `stop_after` rewrites of it; answers with what each rule did."""
        return rewrite(fn, self._rule_set, cx, options=self, limits=self.limits, stop_after=stop_after)
