"""Rules: their order, what they accept, what they find wrong, and what becomes of weights with several uses."""

from __future__ import annotations

from typing import Any

import pytest

from ir.builder import FunctionBuilder, build_program
from ir.core import Program
from ir.opset import IOS16
from mlpasses.config import Quantize
from mlpasses.errors import ConfigError
from mlpasses.findings import check_rules
from mlpasses.resolution import Resolution, resolve
from mlpasses.rules import POLICIES, Policy, Rule, Rules, Skip, Strictness, Where, source
from mlpasses.select import consumer, dtype, everything, function, name, nothing, numel, op_type, opset, param, rank
from mlpasses.subjects import op_subjects
from tests.select.models import Bits, Scheme, decode, decoder, type_of, weights, zeros

FOUR, EIGHT = Bits(4), Bits(8)
GATHER_EXCLUDED = ((op_type("gather"), None), (everything, FOUR))


def resolved(rules: Rules, program: Program) -> Resolution:
    return resolve(rules, weights(program), program)


def configs(rules: Rules, program: Program) -> dict[str, Any]:
    """What becomes of each weight, by name; None where it is left alone."""
    resolution = resolved(rules, program).checked()
    return {subject.name: decision.config for subject, decision in zip(resolution.subjects, resolution.decisions, strict=True)}


def complaint(rules: Rules, program: Program | None = None) -> str:
    with pytest.raises(ConfigError) as error:
        resolved(rules, decoder() if program is None else program).checked()
    return str(error.value)


# what rules accept


def test_lone_config_is_for_everything() -> None:
    assert Rules(FOUR) == Rules((everything, FOUR)) == Rules(default=FOUR) == Rules.of(FOUR)


def test_rules_of_rules_are_the_same() -> None:
    rules = Rules((name("a"), FOUR))
    assert Rules.of(rules) is rules


def test_none_is_a_skip_without_a_reason() -> None:
    assert Rules((name("a"), None)) == Rules((name("a"), Skip())) != Rules((name("a"), Skip("b")))
    assert Rules(None) == Rules((everything, None))


def test_default_none_leaves_the_rest_alone() -> None:
    assert Rules((name("a"), FOUR), default=None)[1] == Rule(everything, None)
    assert len(Rules((name("a"), FOUR))) == 1


def test_rules_print_as_their_source() -> None:
    rules = Rules(
        (name("*head*"), Skip("feeds the logits")), Rule(op_type("conv"), Bits(8, mode="uniform"), optional=True), default=None,
        conflicts="first",
    )  # fmt: skip
    shown = (
        'Rules((name("*head*"), Skip("feeds the logits")), Rule(op_type("conv"), Bits(nbits=8, mode="uniform"), optional=True), '
        '(everything, None), conflicts="first")'
    )
    assert repr(rules) == shown
    assert eval(shown, globals()) == rules


def test_config_prints_without_its_defaults() -> None:
    assert [source(config) for config in (Quantize(), Quantize(dtype="uint8"), Scheme("a"), 3)] == [
        "Quantize()", 'Quantize(dtype="uint8")', 'Scheme(label="a")', "3",
    ]  # fmt: skip


def test_rules_are_hashable_where_configs_are() -> None:
    assert hash(Rules((name("a"), FOUR))) == hash(Rules((name("a"), Bits(4))))
    with pytest.raises(TypeError):
        hash(Rules((name("a"), [])))


def test_where_a_rule_stands_is_no_part_of_it() -> None:
    assert Rule(name("a"), FOUR, where=Where("r.yaml:1:2", "rules[0]")) == Rule(name("a"), FOUR)


def test_rules_are_taken_over_into_others() -> None:
    first, second = Rules((name("a"), FOUR)), Rules((name("b"), None))
    assert Rules(*first, *second, conflicts="skip") == Rules((name("a"), FOUR), (name("b"), None), conflicts="skip")


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ((("conv", FOUR),), 'a rule starts with a filter, not with text: write name("conv") or op_type("conv")'),
        ((op_type("conv"),), 'the rule for op_type("conv") has no config'),
        (((op_type("conv"), name("a")),), 'name("a") is another filter'),
        (((numel, FOUR),), "numel is none by itself: compare it, as in numel >= 4"),
        (((op_type("conv"), FOUR, EIGHT),), "has 3 items, not 2"),
        (((FOUR, op_type("conv")),), "is no filter"),
        ((Rules(FOUR),), "rules do not nest: write Rules(*first, *second)"),
    ],
)
def test_what_is_no_rule_is_refused(entries: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        Rules(*entries)
    assert said in str(error.value)


def test_unknown_policy_is_refused() -> None:
    with pytest.raises(ConfigError, match="conflicts of Rules has to be error, skip, first or strictest, not 'last'"):
        Rules(FOUR, conflicts="last")  # type: ignore[arg-type]  # that is the point


def test_configs_of_another_scheme_are_named() -> None:
    rules = Rules((name("a"), FOUR), (name("b"), Scheme("x")), (name("c"), None))
    rules.expect(Bits, Scheme)
    with pytest.raises(ConfigError) as error:
        rules.expect(Bits)
    assert str(error.value) == 'rules[1] name("b") has the config Scheme(label="x"), where Bits or None was expected'


def test_levels_go_from_names_over_types_to_the_rest() -> None:
    rules = Rules.levels(name={"a*": FOUR, "lm_head": None}, op_type={"linear": EIGHT}, default=FOUR, optional=True)
    assert rules == Rules(
        Rule(name("lm_head"), None, optional=True), Rule(name("a*"), FOUR, optional=True), Rule(op_type("linear"), EIGHT, optional=True),
        default=FOUR,
    )  # fmt: skip


def test_levels_without_a_default_leave_the_rest() -> None:
    assert Rules.levels(op_type={"linear": EIGHT}) == Rules((op_type("linear"), EIGHT))


def test_rules_bound_the_op_types() -> None:
    assert Rules((op_type("a") & name("x"), FOUR), (op_type("b"), None)).op_types() == frozenset("ab")
    assert Rules((op_type("a"), FOUR), default=None).op_types() is None


# which rule decides


def test_first_rule_that_matches_decides() -> None:
    program = decoder(1, tied=False)
    rules = Rules((name("*attn*"), None), (op_type("linear"), FOUR), (everything, EIGHT))
    assert configs(rules, program) == {
        "embed": EIGHT, "layers_0_attn_q_weight": None, "layers_0_mlp_up_weight": FOUR, "lm_head_weight": FOUR,
    }  # fmt: skip


def test_decision_names_its_rule() -> None:
    resolution = resolved(Rules((name("*attn*"), None), (op_type("linear"), FOUR)), decoder(1, tied=False))
    assert [decision.rule for decision in resolution.decisions] == [None, 0, 1, 1]


def test_skip_gives_its_reason() -> None:
    resolution = resolved(Rules((name("*attn*"), Skip("too small")), (name("*mlp*"), None)), decoder(1, tied=False))
    assert [decision.reason for decision in resolution.decisions] == [
        "no rule matches it", "too small", 'rules[1] name("*mlp*") leaves it alone', "no rule matches it",
    ]  # fmt: skip


def test_no_rules_leave_everything_alone() -> None:
    assert set(configs(Rules(), decoder()).values()) == {None}


def test_rules_decide_about_ops_too() -> None:
    program = decoder(1)
    subjects = op_subjects(program, ("relu", "linear"))
    resolution = resolve(Rules((name("*_act"), FOUR), (op_type("linear"), None)), subjects).checked()
    assert [(s.name, d.config) for s, d in zip(subjects, resolution.decisions, strict=True)] == [
        ("layers_0_attn_q", None), ("layers_0_mlp_up", None), ("layers_0_act", FOUR), ("lm_head", None),
    ]  # fmt: skip


# weights with several uses


@pytest.mark.parametrize("policy", ["skip", "first", "strictest"])
def test_tied_embedding_with_gather_excluded_is_left_alone(policy: Policy) -> None:
    found = configs(Rules(*GATHER_EXCLUDED, conflicts=policy), decoder(1))
    assert found == {"embed": None, "layers_0_attn_q_weight": FOUR, "layers_0_mlp_up_weight": FOUR}


def test_conflict_that_is_to_be_an_error_names_the_uses_and_the_ways_out() -> None:
    assert complaint(Rules(*GATHER_EXCLUDED, conflicts="error")) == (
        'the uses of weight embed come out differently: x of gather tokens: left alone by rules[0] op_type("gather"); '
        "weight of linear lm_head: Bits() by rules[1] everything\n"
        '  --> rules[0]: (op_type("gather"), None)\n'
        '  conflicts="skip", "first" or "strictest" leaves it alone\n'
        '  or decide it in a rule before these: (name("embed"), None), or with a config'
    )


def test_rule_for_the_weight_itself_is_a_way_out() -> None:
    rules = Rules((name("embed"), EIGHT), *GATHER_EXCLUDED, conflicts="error")
    resolution = resolved(rules, decoder(1))
    assert resolution.decisions[0].config == EIGHT
    assert not resolution.conflicts


def test_rule_for_a_consumer_takes_the_weight_as_a_whole() -> None:
    rules = Rules((consumer("gather"), None), (everything, FOUR), conflicts="error")
    assert configs(rules, decoder(1))["embed"] is None


def test_conflicts_of_one_kind_are_one_finding() -> None:
    program = build_program(decode(0, function="a"), decode(0, function="b"))
    text = complaint(Rules(*GATHER_EXCLUDED, conflicts="error"), program)
    assert text.count("come out differently") == 1
    assert "; likewise those of 1 other weight\n" in text


def test_strictest_keeps_the_most_bits() -> None:
    rules = Rules((op_type("gather"), FOUR), (op_type("linear"), EIGHT))
    assert configs(rules, decoder(1))["embed"] == EIGHT


def test_strictest_of_equal_strictness_is_the_earliest_rule() -> None:
    first, second = Bits(4), Bits(4, mode="uniform")
    assert configs(Rules((op_type("gather"), first), (op_type("linear"), second)), decoder(1))["embed"] == first


def test_strictest_of_configs_that_do_not_say_is_the_earliest_rule() -> None:
    rules = Rules((op_type("linear"), Scheme("a")), (op_type("gather"), EIGHT))
    assert configs(rules, decoder(1))["embed"] == Scheme("a")


def test_first_is_the_earliest_rule_not_the_first_use() -> None:
    rules = Rules((op_type("linear"), FOUR), (op_type("gather"), EIGHT), conflicts="first")
    assert configs(rules, decoder(1))["embed"] == FOUR


def test_skip_leaves_a_conflict_alone() -> None:
    rules = Rules((op_type("linear"), FOUR), (op_type("gather"), EIGHT), conflicts="skip")
    assert configs(rules, decoder(1))["embed"] is None


def test_use_that_no_rule_matches_leaves_alone_too() -> None:
    assert configs(Rules((op_type("linear"), FOUR)), decoder(1))["embed"] is None
    assert configs(Rules((op_type("linear"), FOUR), conflicts="first"), decoder(1))["embed"] == FOUR


def test_name_below_a_not_protects_a_shared_weight() -> None:
    assert configs(Rules((~name("lm_head"), FOUR)), decoder(1))["embed"] is None


def test_settled_conflict_gives_its_reason_and_the_other_ways() -> None:
    (decision, *_) = resolved(Rules((op_type("linear"), FOUR)), decoder(1)).decisions
    assert decision.reason == (
        'its uses come out differently, and strictest leaves it alone (conflicts="first" takes Bits()): x of gather tokens: no rule; '
        'weight of linear lm_head: Bits() by rules[0] op_type("linear")'
    )
    assert decision.conflict is not None
    assert decision.conflict.names == ("embed",)


def test_equal_configs_do_not_conflict() -> None:
    rules = Rules((op_type("gather"), Bits(4)), (op_type("linear"), Bits(4)), conflicts="error")
    resolution = resolved(rules, decoder(1)).checked()
    assert (resolution.decisions[0].config, resolution.decisions[0].rule) == (Bits(4), 0)


def test_uses_that_all_leave_alone_do_not_conflict() -> None:
    rules = Rules((op_type("linear") & name("lm_head"), Skip("head")), (name("layers*"), FOUR), conflicts="error")
    resolution = resolved(rules, decoder(1)).checked()
    assert resolution.decisions[0].reason == "head"
    assert resolution.decisions[0].conflict is None


def test_weights_that_are_stored_once_share_their_decision() -> None:
    program = decoder(1, tied=False)
    program.add_function(program.main.clone("decode"))
    rules = Rules((function("decode") & name("*attn*"), EIGHT), (op_type("linear"), FOUR))
    resolution = resolved(rules, program)
    assert resolution.groups == ((0, 4), (1, 5), (2, 6), (3, 7))
    assert [decision.config for decision in resolution.decisions] == [None, EIGHT, FOUR, FOUR] * 2
    assert len(resolution.conflicts) == 1


def test_conflict_between_functions_names_them() -> None:
    program = decoder(0, tied=False)
    program.add_function(program.main.clone("decode"))
    text = complaint(Rules((function("decode"), None), (everything, FOUR), conflicts="error"), program)
    assert "x of gather tokens in main: Bits() by rules[1] everything; x of gather tokens in decode: left alone by rules[0]" in text


def test_many_uses_are_listed_in_part() -> None:
    with FunctionBuilder("main", {"x": type_of(1, 4)}, IOS16) as f:
        w = f.const(zeros(4, 4), name="w")
        f.outputs(*(f.op("linear", name=f"y{i}", x=f.inputs["x"], weight=w) for i in range(9)))
    text = complaint(Rules((name("y0"), None), (everything, FOUR), conflicts="error"), build_program(f))
    assert "y5: Bits() by rules[1] everything; and 3 more\n" in text


def test_weight_that_nothing_uses_is_left_alone() -> None:
    (subject, *_) = weights(decoder(0))
    subject.uses = ()
    (decision,) = resolve(Rules(FOUR), [subject]).decisions
    assert (decision.config, decision.reason) == (None, "nothing uses it as a weight")


def test_strictness_is_asked_of_configs_that_have_it() -> None:
    assert isinstance(FOUR, Strictness)
    assert not isinstance(Scheme("a"), Strictness)


# what is wrong with rules


def test_rule_that_matches_nothing_is_an_error_with_the_nearest_pattern() -> None:
    where = Where("encoder-w4.yaml:8:16", "passes[2].palettize-weights.rules[1].name")
    assert complaint(Rules(Rule(name("re:.*atn.*"), FOUR, where=where))) == (
        'no weight matches name("re:.*atn.*")\n'
        "  --> encoder-w4.yaml:8:16  passes[2].palettize-weights.rules[1].name\n"
        '  5 weights searched; did you mean "re:.*attn.*" (2 matches)?\n'
        "a rule that may match nothing is marked as optional"
    )


def test_error_points_at_the_part_of_the_filter_that_is_wrong() -> None:
    place = Where("r.yaml:9:9", "rules[0].name")
    where = Where("r.yaml:8:7", "rules[0]", ((name("*atn*"), place),))
    assert f"  --> {place}\n" in complaint(Rules(Rule(op_type("linear") & name("*atn*"), FOUR, where=where)))


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("layers_0_atn_q", '"layers_0_attn_q" (1 match)'),
        ("layers.0.attn_q", '"layers_0_attn_q" (1 match)'),
        ("model.layers.0.attn_q", '"layers_0_attn_q" (1 match)'),
        ("attn_q", '"*attn_q*" (2 matches)'),
        ("attn.q", '"*attn_q*" (2 matches)'),
        ("LM_HEAD", '"lm_head" (1 match)'),
        ("*atn*", '"*attn*" (2 matches)'),
        ("layers.*.attn_q", '"layers_*_attn_q" (2 matches)'),
        ("layers_0_.*", '"re:layers_0_.*" (2 matches)'),
        ("attn*", '"*attn*" (2 matches)'),
        ("re:attn", '"re:.*attn.*" (2 matches)'),
        (r"re:layers_\d+_(atn|mlp)_qq?", r'"re:layers_\\d+_(attn|mlp)_qq?" (2 matches)'),
        (r"re:layers\.0\.attn_q", '"re:layers_0_attn_q" (1 match)'),
        ("re:attn_q|mpl_up", '"re:.*(?:attn_q|mlp_up).*" (4 matches)'),
    ],
)
def test_name_that_matches_nothing_is_answered_with_what_may_have_been_meant(pattern: str, meant: str) -> None:
    assert f"did you mean {meant}" in complaint(Rules((name(pattern), FOUR)))


def test_name_like_nothing_else_gets_no_suggestion() -> None:
    assert complaint(Rules((name("zzzz"), FOUR))).splitlines()[2] == "  5 weights searched"


def test_name_of_an_op_without_weights_is_recognized() -> None:
    assert "it is the name of relu layers_1_act, which is no weight that was searched, and uses none" in complaint(
        Rules((name("layers_1_act"), FOUR))
    )


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        (op_type("conv"), "5 weights searched; here op_type is linear (5) and gather (1)"),
        (op_type("linaer"), 'did you mean "linear"?; here op_type is linear (5) and gather (1)'),
        (consumer("cnov"), 'did you mean "conv"'),
        (function("mian"), 'did you mean "main"?; here function is main (5)'),
        (param("wieght"), 'did you mean "weight"?; here param is weight (5) and x (1)'),
        (dtype("int8"), "here dtype is fp16 (5)"),
        (rank == 4, "here rank is 2 (5)"),
        (numel >= 65536, "here numel is 256 (4) and 512 (1)"),
        (opset >= "iOS18", "here opset is iOS16 (5)"),
        (op_type("linear") & (rank == 4), "5 weights searched; rank == 4 by itself matches none; here rank is 2 (5)"),
        (
            op_type("gather") & name("*attn*"),
            'each part matches some, but none matches all of them: op_type("gather") 1, name("*attn*") 2',
        ),
        (name("a1", "b1") | op_type("conv"), 'op_type("conv") by itself matches none; here op_type is'),
        (nothing, "5 weights searched"),
    ],
)
def test_filter_that_matches_nothing_is_explained(keep: Any, said: str) -> None:
    assert said in complaint(Rules((keep, FOUR)))


def test_many_sizes_are_given_as_a_range() -> None:
    with FunctionBuilder("main", {"x": type_of(1, 4)}, IOS16) as f:
        f.outputs(*(f.op("linear", x=f.inputs["x"], weight=zeros(i + 1, 4)) for i in range(9)))
    assert "here numel is between 4 and 36" in complaint(Rules((numel > 100, FOUR)), build_program(f))


def test_optional_rule_may_match_nothing() -> None:
    resolved(Rules(Rule(name("zzzz"), FOUR, optional=True), Rule(name("embed") & ~name("zzz"), FOUR, optional=True)), decoder()).checked()


def test_rule_for_everything_may_find_nothing_left() -> None:
    resolved(Rules((rank == 2, FOUR), default=EIGHT), decoder()).checked()


def test_lone_config_suits_a_program_without_weights() -> None:
    resolve(Rules(FOUR), []).checked()


def test_rule_for_a_program_without_weights_matches_nothing() -> None:
    assert str(resolve(Rules((name("a"), FOUR)), []).findings[0]).splitlines()[0] == 'no op or weight matches name("a")'


def test_name_below_a_not_has_to_match_something_too() -> None:
    text = complaint(Rules((op_type("linear") & ~name("*hed*"), FOUR)))
    assert text.startswith('no weight matches name("*hed*"), a part of op_type("linear") & ~name("*hed*")\n')
    assert 'did you mean "*head*" (1 match)?' in text


def test_each_of_several_names_has_to_match_something() -> None:
    text = complaint(Rules((name("embed", "layers_9*"), FOUR)))
    assert text.startswith('no weight matches name("layers_9*"), a part of name("embed", "layers_9*")\n')


def test_shadowed_rule_is_an_error_that_names_what_took_its_matches() -> None:
    rules = Rules((name("layers_0*"), FOUR), (op_type("linear"), EIGHT), (name("*attn*"), None))
    assert complaint(rules) == (
        'name("*attn*") decides nothing: all 2 weights that it matches are taken by rules[0] name("layers_0*") and '
        'rules[1] op_type("linear")\n'
        '  --> rules[2]: (name("*attn*"), None)\n'
        "  put it before what takes them, or remove it"
    )


def test_rule_that_decides_one_use_is_not_shadowed() -> None:
    resolved(Rules((op_type("linear"), FOUR), (name("embed"), None)), decoder()).checked()


def test_rule_behind_everything_is_an_error() -> None:
    assert 'op_type("conv") decides nothing: rules[0] stands before it and takes everything' in complaint(
        Rules(FOUR, (op_type("conv"), EIGHT))
    )


def test_filter_with_two_configs_is_a_contradiction() -> None:
    assert complaint(Rules((op_type("linear"), FOUR), (op_type("linear"), EIGHT))) == (
        'op_type("linear") stands twice with different configs: Bits() in rules[0], which wins, and Bits(nbits=8) here\n'
        '  --> rules[1]: (op_type("linear"), Bits(nbits=8))\n'
        "  remove one of them"
    )


def test_what_is_left_alone_is_called_skip_in_a_contradiction() -> None:
    linear = op_type("linear")
    assert "configs: skip in rules[0], which wins, and Bits() here" in complaint(Rules((linear, None), (linear, FOUR)))
    assert 'and Skip("why") here' in complaint(Rules((linear, FOUR), (linear, Skip("why"))))


def test_rule_that_stands_twice_is_an_error() -> None:
    assert 'op_type("linear") stands twice, here and as rules[0]' in complaint(Rules((op_type("linear"), FOUR), (op_type("linear"), FOUR)))


def test_contradictions_are_found_without_a_program() -> None:
    findings = check_rules(Rules((name("a"), FOUR), (name("a"), None), EIGHT, (name("b"), FOUR), EIGHT))
    assert [(finding.kind, finding.rule) for finding in findings] == [("duplicate", 1), ("shadowed", 3), ("duplicate", 4)]


def test_all_findings_come_together_in_the_order_of_the_rules() -> None:
    rules = Rules(
        (op_type("linear"), FOUR), (name("*atn*"), FOUR), (name("lm_head"), None), (op_type("linear"), EIGHT), (op_type("gather"), None),
        conflicts="error",
    )  # fmt: skip
    findings = resolved(rules, decoder()).findings
    assert [(finding.kind, finding.rule) for finding in findings] == [
        ("conflict", 0), ("unmatched", 1), ("shadowed", 2), ("duplicate", 3),
    ]  # fmt: skip


def test_findings_are_data_before_they_are_raised() -> None:
    resolution = resolved(Rules((name("zzzz"), FOUR), (everything, EIGHT)), decoder(0, tied=False))
    assert len(resolution.findings) == 1
    assert [decision.config for decision in resolution.decisions] == [EIGHT, EIGHT]


def test_a_thousand_misspelt_names_are_not_all_explained() -> None:
    rules = Rules(*((name(f"layers_{i}_atn_q"), FOUR) for i in range(1000)))
    findings = resolved(rules, decoder()).findings
    assert len(findings) == 1000
    assert sum("did you mean" in finding.hint for finding in findings) == 20


@pytest.mark.parametrize("policy", POLICIES)
def test_program_is_not_changed(policy: Policy) -> None:
    program = decoder()
    version = program.version
    resolved(Rules(*GATHER_EXCLUDED, conflicts=policy), program)
    assert program.version == version
