"""Random rules over random programs come out as a brute-force reference says; filters obey the laws of Boolean algebra and print."""

from __future__ import annotations

import fnmatch
import re
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ir.const import Const
from ir.core import Block, Function, Op, Program, Value
from ir.opset import IOS16, IOS18, Opset
from ir.tensors import ArrayTensor, Tensor
from ir.types import FP16, STRING, TensorType
from mlpasses import select
from mlpasses.errors import ConfigError
from mlpasses.patterns import Pattern
from mlpasses.resolution import resolve
from mlpasses.rules import POLICIES, Rule, Rules, Skip
from mlpasses.select import (
    And,
    Comparison,
    Constant,
    Filter,
    Named,
    Not,
    Or,
    Words,
    consumer,
    dtype,
    everything,
    function,
    matching_ops,
    name,
    nbytes,
    nothing,
    numel,
    op_type,
    opset,
    param,
    rank,
)  # fmt: skip
from mlpasses.subjects import Subject, Table, groups, op_subjects
from tests.select.models import Bits, Scheme, weights
from tests.strategies import Wildness, programs, wild_names, wild_text

# programs with weights that are shared in every way

STEMS: Final = ("embed", "head", "layers_0_w", "layers_1_w", "norm")
TENSORS: Final = ((np.float16, (4, 4)), (np.float32, (4, 4)), (np.float16, (8, 4)), (np.float16, (2, 4, 1, 1)), (np.float32, (3,)))
USES: Final = (("linear", "weight"), ("gather", "x"), ("matmul", "x"), ("matmul", "y"), ("conv", "weight"), ("add", "y"), ("made_up", "w"))
ROW: Final = TensorType(FP16, (1, 4))


@st.composite
def shared_weights(draw: st.DrawFn) -> Program:
    """One or two functions whose weights share tensors, and have several uses of several kinds."""
    kinds = draw(st.lists(st.sampled_from(TENSORS), min_size=1, max_size=3))
    pool: list[Tensor] = [ArrayTensor(np.zeros(shape, kind)) for kind, shape in kinds]
    made = [_function(draw, each, pool) for each in draw(st.sampled_from([("main",), ("prefill", "decode")]))]
    return Program(made)


def _function(draw: st.DrawFn, called: str, pool: list[Tensor]) -> Function:
    opset_: Opset = draw(st.sampled_from([IOS16, IOS18]))
    made = Function(called, [("x", ROW)], opset_.key)
    block = Block()
    made.add_block(opset_.key, block)
    for stem in draw(st.lists(st.sampled_from(STEMS), min_size=1, max_size=4, unique=True)):
        tensor = draw(st.sampled_from(pool))
        kind = TensorType(tensor.dtype, tensor.shape)
        weight = Op("const", {}, [(f"{stem}_weight", kind)], {"val": Const(kind, tensor)})
        block.append(weight)
        for index in range(draw(st.integers(0, 3))):
            used, parameter = draw(st.sampled_from(USES))
            attributes = {"name": Const.of(draw(st.sampled_from(STEMS)))} if draw(st.booleans()) else {}
            operands: dict[str, Value] = {"x": made.inputs[0], parameter: weight.output}
            if used == "matmul" and draw(st.booleans()):
                operands = {"x": weight.output, "y": weight.output}
            block.append(Op(used, operands, [(f"{stem}_{used}_{index}", ROW)], attributes))
    return made


# filters and rules

PATTERNS: Final = (*STEMS, "*weight", "layers_?_w*", "re:.*_0", "re:(embed|head).*", "nobody", "re:nob[o]dy", "[eh]*")
comparisons: Final = st.builds(
    lambda measure, compare, bound: getattr(measure, compare)(bound),
    st.sampled_from([rank, numel, nbytes]),
    st.sampled_from(["__lt__", "__le__", "__eq__", "__ne__", "__gt__", "__ge__"]),
    st.sampled_from([0, 1, 2, 4, 16, 32, 64, 1 << 20]),
)
op_words: Final = st.lists(st.sampled_from(["linear", "gather", "matmul", "conv", "add", "made_up", "relu"]), min_size=1, max_size=2)
leaves: Final[st.SearchStrategy[Filter]] = st.one_of(
    st.sampled_from([everything, nothing, opset >= "iOS18", opset == "iOS16", function("main"), function("*fill")]),
    st.sampled_from([param("x"), param("weight", "y"), dtype("fp16"), dtype("fp32", "int8")]),
    comparisons,
    op_words.map(lambda words: op_type(*words)),
    op_words.map(lambda words: consumer(*words)),
    st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3).map(lambda patterns: name(*patterns)),
)
filters: Final[st.SearchStrategy[Filter]] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda a, b: a & b, inner, inner), st.builds(lambda a, b: a | b, inner, inner), inner.map(lambda part: ~part)
    ),
    max_leaves=5,
)
configs: Final = st.sampled_from([Bits(2), Bits(4), Bits(8), Scheme("a"), None, Skip("because")])
rule_lists: Final = st.builds(
    lambda rules, policy: Rules(*rules, conflicts=policy),
    st.lists(st.builds(lambda f, c, o: Rule(f, c, optional=o), filters, configs, st.booleans()), max_size=6),
    st.sampled_from(POLICIES),
)


# the reference: straight from the definitions, one use and one rule at a time


def holds(keep: Filter, subject: Subject, op: Op, parameter: str | None) -> bool:
    """Whether a filter means one use of a weight, or an op."""
    if isinstance(keep, Constant):
        return keep.value
    if isinstance(keep, Not):
        return not holds(keep.filter, subject, op, parameter)
    if isinstance(keep, And):
        return all(holds(part, subject, op, parameter) for part in keep.filters)
    if isinstance(keep, Or):
        return any(holds(part, subject, op, parameter) for part in keep.filters)
    if isinstance(keep, Words | Named):
        accepted = keep.values if isinstance(keep, Words) else keep.patterns
        return any(_accepts(pattern, word) for pattern in accepted for word in words(keep.word, subject, op, parameter))
    assert isinstance(keep, Comparison)
    value = measure(keep.measure, subject)
    outcomes = {"<": -1, "<=": -1, ">": 1, ">=": 1}
    if value is None:
        return False
    order = (value > keep.bound) - (value < keep.bound)
    if keep.symbol == "!=":
        return bool(order)
    return bool(order == outcomes.get(keep.symbol, 0) or (order == 0 and "=" in keep.symbol))


def _accepts(pattern: str, word: str) -> bool:
    if pattern.startswith("re:"):
        return re.fullmatch(pattern[3:], word) is not None
    return fnmatch.fnmatchcase(word, pattern)


def words(word: str, subject: Subject, op: Op, parameter: str | None) -> list[str]:
    users = [use.user for value in subject.op.outputs for use in value.uses if isinstance(use.user, Op)]
    around = subject.op.function
    kind = subject.op.outputs[0].type if subject.op.outputs else None
    if word == "op_type":
        return [op.op_type]
    if word == "consumer":
        return [user.op_type for user in users]
    if word == "param":
        return [] if parameter is None else [parameter]
    if word == "function":
        return [around.name] if around else []
    if word == "dtype":
        return [kind.dtype.name] if isinstance(kind, TensorType) else []
    if parameter is None:
        return called(op)
    as_weight = [each for each, _ in subject.uses]
    others = [each for user in users if user not in as_weight for each in called(user)]
    return [subject.op.output.name, *others, *called(op)]


def called(op: Op) -> list[str]:
    return [each for each in (op.name, op.outputs[0].name if op.outputs else "") if each]


def measure(what: str, subject: Subject) -> Any:
    kind = subject.op.outputs[0].type if subject.op.outputs else None
    if what == "opset":
        return subject.opset
    if not isinstance(kind, TensorType):
        return None
    if what == "rank":
        return kind.rank if kind.rank >= 0 else None
    if what == "numel" or kind.numel is None:
        return kind.numel
    return None if kind.dtype is STRING else (kind.numel * kind.dtype.bits + 7) // 8


def deciding(rules: Rules, subject: Subject, op: Op, parameter: str | None) -> int | None:
    return next((i for i, rule in enumerate(rules) if holds(rule.filter, subject, op, parameter)), None)


def uses(subject: Subject) -> list[tuple[Op, str | None]]:
    return [(subject.op, None)] if subject.kind == "op" else [(op, parameter) for op, parameter in subject.uses]


def settle(rules: Rules, chosen: set[int | None]) -> tuple[Any, int | None]:
    """The config and the rule over uses that these rules decide."""
    matched = sorted(rule for rule in chosen if rule is not None)
    alone = [rule for rule in matched if isinstance(rules[rule].config, Skip)]
    outcomes = [None if rule is None or rule in alone else rules[rule].config for rule in [*matched, *([None] if None in chosen else [])]]
    earliest_skip = alone[0] if alone else None
    if all(outcome == outcomes[0] for outcome in outcomes):
        return (None, earliest_skip) if outcomes[0] is None else (outcomes[0], matched[0])
    if rules.conflicts in ("error", "skip") or (rules.conflicts == "strictest" and None in outcomes):
        return None, earliest_skip
    winner = matched[0]
    if rules.conflicts == "strictest" and all(isinstance(outcome, Bits) for outcome in outcomes):
        most = max(rules[rule].config.nbits for rule in matched)
        winner = next(rule for rule in matched if rules[rule].config.nbits == most)
    return (None if winner in alone else rules[winner].config), winner


def expected(rules: Rules, subjects: list[Subject]) -> list[tuple[Any, int | None]]:
    found: list[tuple[Any, int | None]] = [(None, None)] * len(subjects)
    for members in groups(subjects):
        chosen = {deciding(rules, subjects[m], op, parameter) for m in members for op, parameter in uses(subjects[m])}
        for member in members:
            found[member] = settle(rules, chosen)
    return found


@given(shared_weights(), rule_lists)
def test_rules_over_weights_resolve_as_the_reference_does(program: Program, rules: Rules) -> None:
    subjects = weights(program)
    decisions = resolve(rules, subjects, program).decisions
    assert [(decision.config, decision.rule) for decision in decisions] == expected(rules, subjects)


@given(programs(), rule_lists)
def test_rules_over_ops_resolve_as_the_reference_does(program: Program, rules: Rules) -> None:
    subjects = op_subjects(program)
    decisions = resolve(rules, subjects, program).decisions
    assert [(decision.config, decision.rule) for decision in decisions] == expected(rules, subjects)


@given(shared_weights(), rule_lists)
def test_what_is_left_alone_has_a_reason(program: Program, rules: Rules) -> None:
    for decision in resolve(rules, weights(program)).decisions:
        assert decision.config is not None or decision.reason


@given(shared_weights(), rule_lists)
def test_rules_that_match_or_decide_nothing_are_found(program: Program, rules: Rules) -> None:
    subjects = weights(program)
    faces = [(subject, op, parameter) for subject in subjects for op, parameter in uses(subject)]
    found = resolve(rules, subjects, program).findings
    standing_twice = {i for i, rule in enumerate(rules) if any(rule.filter == other.filter for other in rules[:i])}
    behind_all = {i for i in range(len(rules)) if any(other.filter == everything for other in rules[:i])} - standing_twice
    assert {finding.rule for finding in found if finding.kind == "duplicate"} == standing_twice
    checked = {i for i, rule in enumerate(rules) if not rule.optional and rule.filter != everything} - standing_twice - behind_all
    matched = {i for i in checked if any(holds(rules[i].filter, *face) for face in faces)}
    decided = {deciding(rules, *face) for face in faces}
    unmatched = {finding.rule for finding in found if finding.kind == "unmatched" and ", a part of " not in finding.message}
    assert unmatched == checked - matched
    assert {finding.rule for finding in found if finding.kind == "shadowed"} == (matched - decided) | behind_all


# the algebra


@given(shared_weights(), filters, filters, filters)
def test_filters_obey_the_laws_of_boolean_algebra(program: Program, a: Filter, b: Filter, c: Filter) -> None:
    table = Table(weights(program))
    laws = [
        (a & b, b & a), (a | b, b | a),
        (a & (b | c), (a & b) | (a & c)), (a | (b & c), (a | b) & (a | c)),
        (~(a & b), ~a | ~b), (~(a | b), ~a & ~b), (~~a, a),
        (a & ~a, nothing), (a | ~a, everything), (a & everything, a), (a | nothing, a), (a & nothing, nothing),
        (a | everything, everything), (a & (a | b), a), (a | (a & b), a),
    ]  # fmt: skip
    for left, right in laws:
        assert left.mask(table).tolist() == right.mask(table).tolist()


@given(shared_weights(), filters)
def test_mask_says_of_each_face_what_the_filter_does(program: Program, keep: Filter) -> None:
    table = Table(weights(program))
    assert keep.mask(table).tolist() == [keep.matches(face) for face in table.faces]


@given(filters)
def test_filter_prints_as_source_that_makes_it(keep: Filter) -> None:
    assert eval(repr(keep), vars(select)) == keep


@given(st.lists(wild_text.filter(lambda text: bool(text) and not text.startswith("re:")), min_size=1, max_size=3))
def test_any_name_prints_as_source_that_makes_it(names: list[str]) -> None:
    assert eval(repr(name(*names)), vars(select)) == name(*names)


@given(rule_lists)
def test_rules_print_as_source_that_makes_them(rules: Rules) -> None:
    assert eval(repr(rules), {**vars(select), **globals()}) == rules


@given(programs(), filters)
def test_matching_ops_are_those_that_the_filter_means(program: Program, keep: Filter) -> None:
    plain = [subject.op for subject in op_subjects(program) if holds(keep, subject, subject.op, None)]
    assert list(matching_ops(program, keep)) == plain


# patterns

PIECES: Final = (
    "a", "b", "ab", "_", "0", "a_b0", ".", "*", "+", "?", "|", "(", ")", "[ab]", "[^]a]", "[", "]", "\\d", "\\.", "\\x61", "\\N{DIGIT ONE}",
    "{2}", "{0,1}", "(?:", "(?=a)", "(?i)", "(?x)", "#a", " ", "-", "$", "^",
)  # fmt: skip
texts: Final = st.text(st.sampled_from("ab0_.1A -"), max_size=8)


@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
@given(st.lists(st.sampled_from(PIECES), max_size=7).map("".join), texts)
def test_regular_expression_matches_as_pythons_does(body: str, text: str) -> None:
    try:
        pattern = Pattern(f"re:{body}")
    except ConfigError:
        assume(False)
        return
    assert pattern.matches(text) == (re.fullmatch(body, text) is not None)


@given(st.text(st.sampled_from("ab0_*?[]!-"), max_size=8), texts)
def test_glob_matches_as_pythons_does(glob: str, text: str) -> None:
    assert Pattern(glob).matches(text) == fnmatch.fnmatchcase(text, glob)


@given(programs(Wildness(wild_names, wild_text, shadowing=True)), st.lists(wild_text, max_size=3))
def test_no_name_whatever_crashes_the_search_for_near_ones(program: Program, wanted: list[str]) -> None:
    rules: list[tuple[Filter, object]] = []
    for text in wanted:
        try:
            rules.append((name(text), Bits(4)))
        except ConfigError:
            assert not text or text.startswith("re:")
    resolution = resolve(Rules(*rules), op_subjects(program), program)
    assert all(str(finding) for finding in resolution.findings)
