"""Rewriting by patterns: rules as data, a rewriter through which every change goes, a driver that applies rules to the end.

    from mlpasses.rewrite import Match, RewritePass, Rewriter, const, explain, p, rule

See docs/writing-passes.md.
"""

from mlpasses.rewrite.driver import Limits, Outcome, RuleCount, rewrite
from mlpasses.rewrite.index import RuleSet
from mlpasses.rewrite.match import Constant, Failure, Match
from mlpasses.rewrite.notation import any_value, const, many, optional, p
from mlpasses.rewrite.patterns import COMMUTATIVE, Pattern, PatternError
from mlpasses.rewrite.rewriter import Listener, RewriteError, Rewriter
from mlpasses.rewrite.rule_pass import RewritePass
from mlpasses.rewrite.rules import Replacement, Rule, rule
from mlpasses.rewrite.tracer import Explanation, explain, near_misses

__all__ = [
    "COMMUTATIVE",
    "Constant",
    "Explanation",
    "Failure",
    "Limits",
    "Listener",
    "Match",
    "Outcome",
    "Pattern",
    "PatternError",
    "Replacement",
    "RewriteError",
    "RewritePass",
    "Rewriter",
    "Rule",
    "RuleCount",
    "RuleSet",
    "any_value",
    "const",
    "explain",
    "many",
    "near_misses",
    "optional",
    "p",
    "rewrite",
    "rule",
]
