"""Patterns: they print as their source, and refuse what could never match or would mean something else than it says."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ir.types
from ir.types import FP16, FP32
from mlpasses.rewrite import Match, Pattern, PatternError, Rewriter, Rule, any_value, const, many, optional, p, rule

NAMES: Final[dict[str, Any]] = {
    **vars(ir.types), "p": p, "const": const, "any_value": any_value, "many": many, "optional": optional,
}  # fmt: skip


def ruled(pattern: Any, **options: Any) -> Rule:
    @rule(pattern, **options)
    def some_rule(m: Match, rw: Rewriter) -> None:
        """some → algebra"""

    return some_rule


SOURCES: Final = (
    'p.linear(x="x", weight="w", bias=const("b"))',
    'p.add(x=p.linear(x="x", weight="w"), y=const("c")).commutes()',
    'p.conv(..., x="x", bias=None)',
    'p.relu(x="_")',
    'p.any_of("relu", "relu6")(x="x")',
    'p.op("custom_attention", q="q", k="k")',
    'p.softmax(x="x", axis=-1)',
    'p.transpose(x="x", perm=[0, 2, 1])',
    'p.reduce_mean(x="x", axes=const("axes", rank=1), keep_dims=True)',
    'p.conv(..., x="x", pad_type=const(equals="same"))',
    'p.mul(x="x", y=const("c", equals=0.044715, rtol=0.001, scalar=True))',
    'p.mul(x="x", y=const(filled=1.0, dtype=(FP16, FP32)))',
    'p.add(x=any_value("x", dtype=FP16, rank=4, shape=[1, None, 8, 8]), y=any_value(rank=4))',
    'p.linear(x="x", weight="w", bias=optional(const("b")))',
    'p.concat(values=["a", p.relu(x="b")], axis="axis")',
    'p.concat(values=[const(equals=1), const(equals=2)], axis=0)',
    'p.concat(values=many("xs"), axis="axis", interleave=optional("i"))',
    'p.relu(x=p.split(..., x="x").named("s").out(1))',
    'p.relu(x=p.linear(..., x="x").shared())',
    'p.relu(x=p.one_of(p.sigmoid(x="x"), p.tanh(x="x")))',
    'p.minimum(x="x", y=float("inf"))',
    'p.cast(x="x", dtype=const("d", equals="a \\"b\\" \\\\ é"))',
)


@pytest.mark.parametrize("source", SOURCES)
def test_a_pattern_prints_as_its_source(source: str) -> None:
    pattern = eval(source, dict(NAMES))
    assert str(pattern) == source
    assert eval(str(pattern), dict(NAMES)) == pattern


names = st.sampled_from(["a", "b", "c", "_"])
numbers = st.integers(-3, 3) | st.floats(allow_nan=False, width=32) | st.booleans()
leaves: st.SearchStrategy[Any] = (
    names
    | numbers
    | st.lists(st.integers(-3, 3), min_size=1, max_size=3)
    | st.builds(const, names)
    | st.builds(const, names, equals=numbers | st.text(max_size=4), rtol=st.just(0.0) | st.just(0.25))
    | st.builds(const, filled=numbers, scalar=st.booleans(), dtype=st.just(()) | st.just(FP16))
    | st.builds(any_value, names, dtype=st.just(()) | st.just((FP16, FP32)), rank=st.none() | st.integers(0, 4))
)


def _grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    binary = st.builds(lambda x, y: p.add(x=x, y=y), inner, inner)
    return (
        binary
        | binary.map(lambda pattern: pattern.commutes())
        | st.builds(lambda x: p.any_of("relu", "relu6")(..., x=x).named("n"), inner)
        | st.builds(lambda x: p.split(..., x=x).out(1).shared(), inner)
        | st.builds(lambda values: p.concat(values=values, axis=0), st.lists(inner, min_size=1, max_size=3))
        | st.builds(p.one_of, inner, inner)
        | st.builds(lambda x: p.linear(..., x="x", bias=optional(x)), inner)
    )


def _is_operand(pattern: object) -> bool:
    return not isinstance(pattern, list)


patterns = st.recursive(leaves.filter(_is_operand), lambda inner: _grown(inner.filter(_is_operand)), max_leaves=8)


@given(patterns.map(lambda pattern: p.abs(x=pattern)))
def test_what_a_pattern_prints_means_the_same_pattern(pattern: Pattern) -> None:
    again = eval(str(pattern), dict(NAMES))
    assert again == pattern
    assert str(again) == str(pattern)


def test_an_array_is_compared_as_the_list_that_it_holds() -> None:
    assert p.transpose(x="x", perm=np.array([1, 0])) == p.transpose(x="x", perm=[1, 0])


def test_a_rule_prints_its_pattern_and_its_algebra() -> None:
    assert repr(ruled(p.relu(x="x"))) == '@rule(p.relu(x="x"))  # some-rule: some → algebra'


def test_a_rule_is_named_after_its_function_unless_it_says_otherwise() -> None:
    assert ruled(p.relu(x="x")).name == "some-rule"
    assert ruled(p.relu(x="x"), name="other").name == "other"


REFUSED: Final = (
    (lambda: p.lineer(x="x"), "there is no op 'lineer': did you mean 'linear'"),
    (lambda: p.linear(x="x", weigth="w"), "linear has no parameter 'weigth': did you mean 'weight'"),
    (lambda: p.any_of("relu", "rely")(x="x"), "there is no op 'rely'"),
    (lambda: p.any_of()(x="x"), "takes the op types"),
    (lambda: p.const(val="x"), "a const op is matched by what it holds"),
    (lambda: p.relu("x"), "takes its operands by name"),
    (lambda: p.relu(x="not a name"), "'not a name' is none"),
    (lambda: p.relu(x="root"), "cannot be called 'root'"),
    (lambda: p.relu(x="x").named("ops"), "cannot be called 'ops'"),
    (lambda: p.sub(x="x", y="y").commutes(), "sub does not commute"),
    (lambda: const(float("nan")), "no literal equals nan"),
    (lambda: const([[1, 2], [3]]), "differ in length"),
    (lambda: const(1.0, equals=2.0), "names two values"),
    (lambda: const(filled=[1, 2]), "filled takes one value"),
    (lambda: any_value("x", dtype="fp17"), "no element type 'fp17'"),
    (lambda: p.one_of(p.relu(x="x")), "two alternatives or more"),
    (lambda: p.one_of(p.relu(x="x"), None), "takes patterns of one operand"),
    (lambda: optional(["a", "b"]), "takes one pattern"),
    (lambda: p.concat(values=["a", many("b")], axis=0), "has to match one operand"),
    (lambda: ruled(any_value("x")), "starts at an op"),
    (lambda: ruled("x"), "made of a pattern"),
    (lambda: ruled(p.relu(x="x").shared()), "take .out"),
    (lambda: ruled(p.split(..., x="x").out(0)), "take .out"),
    (lambda: ruled(p.relu(x=p.relu(x="d").named("d"))), "'d' names an op and a value"),
    (lambda: ruled(p.concat(values=many("a"), axis="a")), "'a' names one operand and many"),
    (lambda: ruled(p.sub(x="x", y="y"), commutes=True), "commutes"),
)


@pytest.mark.parametrize(("make", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_nonsense_is_refused_with_the_reason(make: Any, reason: str) -> None:
    with pytest.raises(PatternError) as caught:
        make()
    assert reason in str(caught.value)
