"""Rules and filters in recipes: what they mean, that they round-trip, and that every mistake and finding is named with its place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from ir.opset import OPSETS
from ir.types import DTYPES
from mlpasses.compress.quantize import QuantizeWeights
from mlpasses.config import Quantize
from mlpasses.errors import ConfigError, RecipeError
from mlpasses.filter_data import filter_data, filter_of
from mlpasses.passes import Pass
from mlpasses.pipeline import Pipeline
from mlpasses.recipe import dump_recipe, entries_in, load_recipe, parse_pipeline, pipeline_of
from mlpasses.rules import POLICIES, Rule, Rules, Skip
from mlpasses.select import (
    And,
    Filter,
    Not,
    Or,
    consumer,
    dtype,
    everything,
    function,
    name,
    nbytes,
    nothing,
    numel,
    op_type,
    opset,
    param,
    rank,
)  # fmt: skip
from tests.passes_for_tests import Compress, Drop, Keep, Scheme, registered
from tests.select.models import decoder


@pytest.fixture(autouse=True, scope="module")
def _test_passes() -> Iterator[None]:
    with registered():
        yield


def only(entry: str) -> Any:
    (found,) = load_recipe(f"version: 1\npasses:\n  - {entry}\n")
    return found


def rules(*listed: str, after: str = "") -> Rules:
    found: Rules = only(f"compress: {{rules: [{', '.join(listed)}]{after}}}").rules
    return found


def error_in(entry: str) -> str:
    with pytest.raises(RecipeError) as raised:
        pipeline_of(entries_in(f"version: 1\npasses:\n  - {entry}\n", "r.yaml"))
    return str(raised.value)


def test_rules_are_read_as_they_are_written_in_python() -> None:
    text = """\
version: 1
passes:
  - quantize-weights:
      rules:
        - {name: "*lm_head*", skip: "feeds the logits"}
        - {name: "re:layers_0_.*", quantize: {dtype: uint8}}
        - {op_type: [linear, conv], min_elements: 4096, quantize: {}, optional: true}
      default: {skip: true}
      conflicts: first
"""
    expected = Rules(
        (name("*lm_head*"), Skip("feeds the logits")),
        (name("re:layers_0_.*"), Quantize(dtype="uint8")),
        Rule(op_type("linear", "conv") & (numel >= 4096), Quantize(), optional=True),
        default=None,
        conflicts="first",
    )
    assert load_recipe(text) == Pipeline(QuantizeWeights(expected))


def test_lone_config_is_for_everything() -> None:
    assert only("compress: {nbits: 4}") == Compress(Scheme(nbits=4))
    assert only("compress: 8") == Compress(Scheme(nbits=8))
    assert only("compress: {}") == Compress(Scheme())
    assert only("compress") == Compress()


def test_options_of_the_pass_stand_beside_a_config_or_rules() -> None:
    assert only("compress: {passes: 3}") == Compress(passes=3)
    assert only("compress: {nbits: 4, passes: 3}") == Compress(Scheme(nbits=4), passes=3)
    assert only("compress: {default: {drop: {}}, passes: 3}") == Compress(Drop(), passes=3)


def test_outcome_may_be_left_empty_or_be_a_lone_value() -> None:
    assert rules("{op_type: conv, drop: }", "{drop: 0.25}") == Rules((op_type("conv"), Drop()), Drop(0.25))


def test_default_may_be_a_word() -> None:
    assert rules(after=", default: skip") == Rules(None)
    assert rules(after=", default: drop") == Rules(Drop())


def test_no_rules_are_rules_too() -> None:
    assert rules() == Rules()


@pytest.mark.parametrize(
    ("text", "keep"),
    [
        ("{}", everything),
        ("{name: a}", name("a")),
        ("{name: [a, 're:b.*']}", name("a", "re:b.*")),
        ("{op_type: conv, rank: 4}", op_type("conv") & (rank == 4)),
        ("{consumer: gather, function: main, param: weight, dtype: fp16}",
         consumer("gather") & function("main") & param("weight") & dtype("fp16")),
        ("{min_elements: 4, max_elements: 9}", (numel >= 4) & (numel <= 9)),
        ("{min_bytes: 4, max_bytes: 9}", (nbytes >= 4) & (nbytes <= 9)),
        ("{rank: '>=2', numel: '!= 5', nbytes: '< 7'}", (rank >= 2) & (numel != 5) & (nbytes < 7)),
        ("{opset: iOS17}", opset == "iOS17"),
        ("{opset: '>= iOS18'}", opset >= "iOS18"),
        ("{not: {name: a, rank: 2}}", ~(name("a") & (rank == 2))),
        ("{not: {}}", nothing),
        ("{any: [{name: a}, {rank: 2, dtype: fp16}]}", name("a") | (rank == 2) & dtype("fp16")),
        ("{all: [{name: 'a*'}, {name: '*b'}]}", name("a*") & name("*b")),
        ("{op_type: conv, any: [{rank: 4}, {rank: 3}]}", op_type("conv") & ((rank == 4) | (rank == 3))),
    ],
)  # fmt: skip
def test_filter_is_the_conjunction_of_its_keys(text: str, keep: Filter) -> None:
    assert only(f"keep: {{keep: {text}}}") == Keep(keep)


# round trip

words = st.text("ab*_é '\"#:,]", min_size=1, max_size=5).filter(lambda text: not text.startswith("re:"))
plain_words = st.text("ab_.é '\"#:", min_size=1, max_size=5).filter(lambda text: not text.startswith("re:"))


def several(one: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(one, min_size=1, max_size=3)


leaves: st.SearchStrategy[Filter] = st.one_of(
    st.sampled_from([everything, nothing]),
    st.builds(lambda make, texts: make(*texts), st.sampled_from([name, function, param]), several(words)),
    st.builds(lambda make, texts: make(*texts), st.sampled_from([op_type, consumer]), several(plain_words)),
    several(st.sampled_from([each.name for each in DTYPES])).map(lambda texts: dtype(*texts)),
    st.builds(
        lambda measure, compare, bound: getattr(measure, compare)(bound),
        st.sampled_from([rank, numel, nbytes]),
        st.sampled_from(["__lt__", "__le__", "__eq__", "__ne__", "__gt__", "__ge__"]),
        st.integers(-(10**20), 10**20),
    ),
    st.builds(lambda compare, bound: getattr(opset, compare)(bound), st.sampled_from(["__lt__", "__eq__"]), st.sampled_from(OPSETS)),
)
filters: st.SearchStrategy[Filter] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda a, b: a & b, inner, inner),
        st.builds(lambda a, b: a | b, inner, inner),
        st.builds(lambda a, b: And((a, b)), inner, inner),
        st.builds(lambda a: Or((a,)), inner),
        inner.map(lambda part: ~part),
    ),
    max_leaves=6,
)
configs = st.builds(Scheme, nbits=st.sampled_from([4, 8]), group=st.none() | st.integers()) | st.builds(Drop, st.floats(0, 1))
outcomes = configs | st.none() | st.builds(Skip, st.text(max_size=5))
rule_lists = st.builds(
    lambda listed, policy: Rules(*listed, conflicts=policy),
    st.lists(st.builds(lambda keep, config, optional: Rule(keep, config, optional=optional), filters, outcomes, st.booleans()), max_size=4),
    st.sampled_from(POLICIES),
)


@given(filters)
def test_filter_comes_back_from_its_data(keep: Filter) -> None:
    assert filter_of(filter_data(keep)) == keep


@given(rule_lists, st.integers(0, 2))
def test_rules_come_back_from_their_recipe(listed: Rules, passes: int) -> None:
    pipeline = Pipeline(Compress(listed, passes=passes))
    assert load_recipe(dump_recipe(pipeline)) == pipeline
    assert parse_pipeline(str(pipeline)) == pipeline


@given(filters)
def test_filter_options_come_back_from_their_recipe(keep: Filter) -> None:
    assert load_recipe(dump_recipe(Keep(keep))) == Pipeline(Keep(keep))


@pytest.mark.parametrize(
    "each", [Compress(Scheme()), Compress(Scheme(), passes=3), Compress(Drop()), Compress(Rules(None)), Compress(Rules())]
)
def test_lone_outcomes_come_back(each: Pass) -> None:
    assert load_recipe(dump_recipe(each)) == Pipeline(each)


def test_rules_are_laid_out_as_one_writes_them() -> None:
    listed = Rules((name("*head*"), Skip("dear")), Rule(op_type("linear", "conv"), Quantize("uint8"), optional=True), default=Quantize())
    assert dump_recipe(QuantizeWeights(listed)) == (
        "version: 1\n"
        "passes:\n"
        "  - quantize-weights:\n"
        "      rules:\n"
        "        - {name: '*head*', skip: dear}\n"
        "        - {op_type: [linear, conv], quantize: {dtype: uint8}, optional: true}\n"
        "      default: {quantize: {}}\n"
    )


@frozen
class Odd(Filter):
    """A filter of somebody's own."""


@pytest.mark.parametrize("keep", [Odd(), op_type("conv") & Odd(), Not(Not(name("a"))), And(())])
def test_filter_that_recipes_do_not_know_cannot_be_dumped(keep: Filter) -> None:
    with pytest.raises(ConfigError, match="no recipe can state the filter"):
        dump_recipe(Compress(Rules((keep, None))))


def test_config_of_another_pass_cannot_be_dumped() -> None:
    with pytest.raises(ConfigError, match=r"no recipe can state the rule .*Quantize\(\) is none of scheme, drop"):
        dump_recipe(Compress(Rules(Quantize())))


# mistakes


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("compress: {rules: 3}", "expected a list of rules, found 3\n  --> r.yaml:3:23  passes[0].compress.rules"),
        ("compress: {rules: [3]}",
         "expected a rule, a filter with its outcome such as {op_type: conv, drop: {…}}, found 3\n  --> r.yaml:3:24"),
        ("compress: {rules: [{name: a}]}",
         "expected an outcome, skip: true or scheme: {…} or drop: {…}\n  --> r.yaml:3:24  passes[0].compress.rules[0]"),
        ("compress: {rules: [{skip: true, drop: {}}]}", "expected an outcome, skip: true or scheme: {…} or drop: {…}, found skip and drop"),
        ("compress: {rules: [{nam: a, skip: true}]}",
         "a rule has no key 'nam'\n  --> r.yaml:3:25  passes[0].compress.rules[0].nam\n  did you mean 'name'?"),
        ("compress: {rules: [{name: a, schem: {}}]}",
         "a rule has no key 'schem'\n  --> r.yaml:3:34  passes[0].compress.rules[0].schem\n  did"),
        ("compress: {rules: [{name: a, nbits: 4}]}", "a rule has no key 'nbits'\n  --> r.yaml:3:34  passes[0].compress.rules[0].nbits\n"
         "  it is an option of scheme: scheme: {nbits: …}"),
        ("compress: {rules: [{scheme: {nbit: 4}}]}",
         "scheme has no option 'nbit'\n  --> r.yaml:3:34  passes[0].compress.rules[0].scheme.nbit\n  did you mean 'nbits'?"),
        ("compress: {rules: [{skip: 3}]}", "expected true, or the reason, found 3\n  --> r.yaml:3:31  passes[0].compress.rules[0].skip"),
        ("compress: {rules: [{skip: false}]}", "expected true, or the reason, found false"),
        ("compress: {rules: [{skip: true, optional: 1}]}", "expected true or false, found 1\n  --> r.yaml:3:47"),
        ("compress: {rules: [{name: [a, 3], skip: true}]}",
         "expected text, found 3\n  --> r.yaml:3:35  passes[0].compress.rules[0].name[1]"),
        ("compress: {rules: [{name: 're:(', skip: true}]}",
         '"re:(" is no regular expression: missing ), unterminated subpattern at position 0\n  --> r.yaml:3:31'),
        ("compress: {rules: [{name: 3, skip: true}]}", "expected text or a list of text, found 3\n  --> r.yaml:3:31"),
        ("compress: {rules: [{op_type: 'conv*', skip: true}]}", 'op_type takes whole words, and "conv*" is a pattern'),
        ("compress: {rules: [{dtype: float16, skip: true}]}",
         "there is no element type 'float16'\n  --> r.yaml:3:32  passes[0].compress.rules[0].dtype\n  did you mean 'fp16'?"),
        ("compress: {rules: [{rank: four, skip: true}]}", 'expected a whole number, or a comparison such as ">= 2", found "four"'),
        ("compress: {rules: [{rank: '>= x', skip: true}]}", 'rank is compared with a whole number, found "x"'),
        ("compress: {rules: [{min_elements: 1.5, skip: true}]}", "expected a whole number, found 1.5\n  --> r.yaml:3:39"),
        ("compress: {rules: [{opset: '> iOS12', skip: true}]}", "there is no target 'iOS12'"),
        ("compress: {rules: [{any: [], skip: true}]}",
         "expected a list of filters, one of which has to hold, found none\n  --> r.yaml:3:30"),
        ("compress: {rules: [{any: [{nam: a}], skip: true}]}",
         "a filter has no key 'nam'\n  --> r.yaml:3:32  passes[0].compress.rules[0].any[0].nam\n  did you mean 'name'?"),
        ("compress: {rules: [{not: a, skip: true}]}", 'expected a filter such as {op_type: conv}, found "a"\n  --> r.yaml:3:30'),
        ("compress: {default: {name: a, skip: true}}", "default has no key 'name'\n  --> r.yaml:3:26  passes[0].compress.default.name"),
        ("compress: {default: {nbits: 4}}", "it is an option of scheme: scheme: {nbits: …}"),
        ("compress: {default: 3}", "expected an outcome, skip or scheme or drop, found 3\n  --> r.yaml:3:25"),
        ("compress: {rules: [], conflicts: frist}", 'expected error, skip, first or strictest, found "frist"\n  --> r.yaml:3:38'),
        ("compress: {rules: [], nbits: 4}", "compress has no option 'nbits' beside rules\n  --> r.yaml:3:27  passes[0].compress.nbits\n"
         "  what is for all that no rule takes is the default: default: {scheme: {nbits: …}}"),
        ("compress: {drop: {share: 1}}", "compress has no option 'drop'\n  --> r.yaml:3:16  passes[0].compress.drop\n"
         "  it is a config, for a rule or for what no rule takes: default: {drop: {…}}"),
        ("compress: {rules: [], drop: {}}", "compress has no option 'drop' beside rules\n  --> r.yaml:3:27  passes[0].compress.drop\n"
         "  it is a config, for a rule or for what no rule takes: default: {drop: {…}}"),
        ("compress: {ruls: []}", "compress has no option 'ruls'\n  --> r.yaml:3:16  passes[0].compress.ruls\n  did you mean 'rules'?"),
        ("compress: {passes: x, rules: [3]}", 'expected a whole number, found "x"\n  --> r.yaml:3:24  passes[0].compress.passes'),
    ],
)  # fmt: skip
def test_wrong_rule_is_named_with_its_place(entry: str, message: str) -> None:
    assert message in error_in(entry)


def test_mistakes_of_several_rules_come_together() -> None:
    text = error_in("compress: {rules: [{nam: a, skip: true}, {name: 3, drop: {shar: 1}}], conflicts: 3}")
    assert [line.split()[1].rpartition(":")[2] for line in text.splitlines() if "-->" in line] == ["25", "53", "63", "86"]


# findings point at the recipe


def test_finding_points_at_the_line_of_the_recipe() -> None:
    text = """\
version: 1
passes:
  - quantize-weights:
      rules:
        - {name: "re:.*atn.*", quantize: {}}
        - {op_type: linear, not: {name: [lm_head, nobody]}, skip: true}
        - {op_type: [linear, gather], any: [{rank: 3}, {dtype: fp32}], skip: true}
        - {name: "layers_*", skip: true, optional: true}
        - {op_type: linear, name: "layers_*", skip: true}
      default: {quantize: {}}
"""
    pipeline = pipeline_of(entries_in(text, "w8.yaml"))
    findings = "\n".join(pipeline.plan(decoder()).findings)
    assert 'no weight matches name("re:.*atn.*")\n  --> w8.yaml:5:18  passes[0].quantize-weights.rules[0].name\n' in findings
    assert 'did you mean "re:.*attn.*" (2 matches)?' in findings
    assert "  --> w8.yaml:6:51  passes[0].quantize-weights.rules[1].not.name[1]\n" in findings
    assert "  --> w8.yaml:7:52  passes[0].quantize-weights.rules[2].any[0].rank\n" in findings
    assert "  --> w8.yaml:9:11  passes[0].quantize-weights.rules[4]\n" in findings


def test_rule_behind_the_default_of_another_list_points_at_it() -> None:
    text = "version: 1\npasses:\n- quantize-weights: {rules: [{skip: true}], default: {quantize: {}}}\n"
    assert "  --> r.yaml:3:54  passes[0].quantize-weights.default" in "\n".join(
        pipeline_of(entries_in(text, "r.yaml")).plan(decoder()).findings
    )


def test_places_do_not_count_in_comparisons() -> None:
    assert rules("{name: a, skip: true}") == Rules((name("a"), None))
