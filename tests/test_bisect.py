"""Bisection: the pass, and the rewrite in it, after which a program fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import frozen

from ir.core import Function, Program
from ir.text import parse, print_program
from mlpasses.bisect import Culprit, NotFailingError, RewriteStep, bisect
from mlpasses.cleanup.cleanup import Cleanup
from mlpasses.cleanup.dce import DeadCode
from mlpasses.cleanup.sort import SortTopologically
from mlpasses.context import Context
from mlpasses.errors import ConfigError, PassError
from mlpasses.passes import FunctionPass
from mlpasses.pipeline import Pipeline, Repeat
from mlpasses.rewrite import rewrite
from tests.rewrite.checks import program_of
from tests.rewrite.test_rule_pass import DropMultiplications, multiply_by_one

PRODUCTS = 12
TEXT = "inputs %x: fp16[4]\n%m0: fp16[4] = relu(x=%x)\n" + "".join(
    f"%m{n + 1}: fp16[4] = mul(x=%m{n}, y=fp16(1.0))\n" for n in range(PRODUCTS)
)
PROGRAM = TEXT + f"%y: fp16[4] = relu(x=%m{PRODUCTS})\n"


@frozen
class DropOne(FunctionPass):
    """mul(x, 1) → x, once"""

    def run(self, fn: Function, cx: Context) -> int:
        return rewrite(fn, [multiply_by_one], cx, stop_after=1).rewrites


@frozen
class DropAndSay(DropMultiplications):
    """Does more than its rules."""

    def run(self, fn: Function, cx: Context) -> int:
        cx.note(fn.name, "seen")
        return super().run(fn, cx)


@frozen
class Raise(FunctionPass):
    """Fails."""

    def run(self, fn: Function, cx: Context) -> int:
        raise ValueError("no")


def fewer_than(count: int) -> Callable[[Program], bool]:
    """Fails on programs with fewer products."""
    return lambda program: len(list(program.ops("mul"))) < count


def products(culprit: Culprit) -> tuple[int, int]:
    return len(list(culprit.before.ops("mul"))), len(list(culprit.after.ops("mul")))


@pytest.mark.parametrize("left", range(1, PRODUCTS + 1))
def test_every_rewrite_can_be_found(left: int) -> None:
    culprit = bisect(program_of(PROGRAM), DropMultiplications(), fewer_than(left))
    assert products(culprit) == (left, left - 1)
    number = PRODUCTS - left + 1
    assert culprit.rewrite == RewriteStep(number, PRODUCTS, "multiply-by-one", f"mul %m{number}")


def test_rounds_of_a_repetition_are_passes_of_their_own() -> None:
    culprit = bisect(program_of(PROGRAM), Pipeline(DeadCode(), Repeat(DropOne(), limit=20)), fewer_than(9))
    assert (culprit.number, culprit.of, culprit.each) == (5, 14, DropOne())
    assert products(culprit) == (9, 8)


def test_passes_that_change_nothing_are_counted_and_not_asked_about() -> None:
    asked: list[int] = []

    def fails(program: Program) -> bool:
        asked.append(len(list(program.ops("mul"))))
        return asked[-1] < PRODUCTS

    culprit = bisect(program_of(PROGRAM), Pipeline(DeadCode(), SortTopologically(), DropOne(), DeadCode()), fails)
    assert (culprit.number, culprit.of) == (3, 4)
    assert asked == [PRODUCTS, PRODUCTS - 1]


def test_it_asks_as_often_as_a_binary_search() -> None:
    asked: list[Program] = []

    def fails(program: Program) -> bool:
        asked.append(program)
        return fewer_than(4)(program)

    bisect(program_of(PROGRAM), DropMultiplications(), fails)
    assert len(asked) <= 2 + 4  # both ends, and 2 ** 4 >= 12


def test_a_pass_within_a_composite_pass_is_named() -> None:
    program = program_of("inputs %x: fp16[4]\n%unused: fp16[4] = tanh(x=%x)\n%y: fp16[4] = relu(x=%x)")
    culprit = bisect(program, Cleanup(), lambda left: not list(left.ops("tanh")))
    assert culprit.each.name == "dead-code"
    assert culprit.rewrite is None


def test_rewrites_of_a_pass_that_does_more_are_not_taken_apart() -> None:
    culprit = bisect(program_of(PROGRAM), DropAndSay(), fewer_than(4))
    assert culprit.rewrite is None
    assert products(culprit) == (PRODUCTS, 0)


def test_rewrites_are_counted_across_functions() -> None:
    text = print_program(program_of(PROGRAM))
    program = parse(text + text[text.index("\nfunc main") :].replace("func main", "func other"))
    culprit = bisect(program, DropMultiplications(), fewer_than(4))
    assert culprit.rewrite == RewriteStep(2 * PRODUCTS - 3, 2 * PRODUCTS, "multiply-by-one", f"mul %m{PRODUCTS - 3}")
    assert products(culprit) == (4, 3)


def test_the_program_handed_in_never_changes() -> None:
    program = program_of(PROGRAM)
    version, text = program.version, str(program)
    bisect(program, DropMultiplications(), fewer_than(4))
    assert (program.version, str(program)) == (version, text)


def test_the_diff_is_of_the_rewrite_alone() -> None:
    diff = bisect(program_of(PROGRAM), DropMultiplications(), fewer_than(PRODUCTS)).diff()
    assert diff[:2] == ["--- before multiply-by-one at mul %m1", "+++ after multiply-by-one at mul %m1"]
    assert [line.split(":")[0].split("%")[1] for line in diff[2:] if line.startswith("-")] == ["m1", "m2"]


def test_a_culprit_says_its_numbers_and_the_options_of_the_pass() -> None:
    culprit = bisect(program_of(PROGRAM), Pipeline(DropMultiplications(keep="m9")), fewer_than(PRODUCTS))
    assert str(culprit) == "pass 1 of 1: DropMultiplications(keep='m9')\nrewrite 1 of 11: multiply-by-one at mul %m1"


def test_input_that_fails_already_is_refused_before_anything_runs() -> None:
    with pytest.raises(ConfigError, match="fails on the program before any pass"):
        bisect(program_of(PROGRAM), Raise(), lambda program: True)


def test_run_that_does_not_fail_is_nothing_to_find() -> None:
    with pytest.raises(NotFailingError, match="does not fail on what the whole run leaves"):
        bisect(program_of(PROGRAM), DropOne(), lambda program: False)


def test_run_that_changes_nothing_is_nothing_to_find() -> None:
    with pytest.raises(NotFailingError, match="no pass changes the program"):
        bisect(program_of(PROGRAM), DeadCode(), lambda program: False)


def test_pass_that_raises_ends_the_search_with_its_error() -> None:
    with pytest.raises(PassError, match=r"pass raise .* failed: ValueError: no"):
        bisect(program_of(PROGRAM), Pipeline(DropOne(), Raise()), lambda program: False)


@pytest.mark.parametrize("count", [0, 1, 5, PRODUCTS, PRODUCTS + 1])
def test_rewriting_stops_after_so_many_rewrites(count: int) -> None:
    program = program_of(PROGRAM)
    outcome = rewrite(program, [multiply_by_one], stop_after=count)
    assert outcome.rewrites == min(count, PRODUCTS)
    assert len(list(program.ops("mul"))) == PRODUCTS - outcome.rewrites
