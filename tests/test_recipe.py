"""Recipes: what they mean, that they round-trip, and that every mistake is named with its place."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ir.opset import OPSETS
from ir.types import DTYPES
from mlpasses.cleanup.dce import DeadCode
from mlpasses.compress.prune import PruneWeights
from mlpasses.compress.quantize import QuantizeWeights
from mlpasses.config import Magnitude, Quantize
from mlpasses.errors import ConfigError, RecipeError
from mlpasses.passes import Pass
from mlpasses.pipeline import Pipeline, Repeat
from mlpasses.raising import RaiseOpset
from mlpasses.recipe import dump_recipe, entries_in, inline_entries, load_recipe, parse_pipeline, pipeline_of
from mlpasses.yamltree import resolve
from tests.passes_for_tests import Around, Inner, Level, ManyOptions, NoOptions, OneConfig, OneOption, Scheme, registered


@pytest.fixture(autouse=True, scope="module")
def _test_passes() -> Iterator[None]:
    with registered():
        yield


def recipe(*entries: str) -> Pipeline:
    return load_recipe("version: 1\npasses:\n" + "".join(f"  - {entry}\n" for entry in entries))


def only(entry: str) -> Pass:
    (found,) = recipe(entry)
    return found


def error_of(text: str | bytes) -> str:
    with pytest.raises(RecipeError) as raised:
        pipeline_of(entries_in(text, "r.yaml"))
    return str(raised.value)


def error_in(*entries: str) -> str:
    return error_of("version: 1\npasses:\n" + "".join(f"  - {entry}\n" for entry in entries))


# What entries mean


def test_a_recipe_is_a_pipeline() -> None:
    found = recipe("raise-opset: iOS18", "quantize-weights: {dtype: uint8, mode: asymmetric}", "dead-code")
    assert found == Pipeline(RaiseOpset("iOS18"), QuantizeWeights(Quantize(dtype="uint8", mode="asymmetric")), DeadCode())


def test_a_name_alone_is_the_pass_with_its_defaults() -> None:
    assert only("one-config") == OneConfig()


def test_options_are_the_fields_of_the_pass() -> None:
    assert only("many-options: {flag: true, count: 3, level: high}") == ManyOptions(flag=True, count=3, level=Level.HIGH)


def test_a_lone_config_gives_its_fields_to_the_pass() -> None:
    assert only("one-config: {mode: fast}") == OneConfig(Scheme(mode="fast"))


def test_an_empty_mapping_is_the_configs_default_not_the_passs() -> None:
    assert only("one-config: {}") == OneConfig(Scheme())


def test_a_lone_value_is_the_first_option() -> None:
    assert only("one-option: x") == OneOption("x")
    assert only("one-config: 2") == OneConfig(Scheme(nbits=2))


def test_the_first_option_is_none_that_goes_by_name_only() -> None:
    assert only("prune-weights: 0.75") == PruneWeights(Magnitude(sparsity=0.75))  # not the base class' min_elements


def test_a_value_left_empty_is_no_value() -> None:
    assert only("no-options:") == NoOptions()


def test_pipelines_nest() -> None:
    assert only("pipeline: [no-options, one-option: x]") == Pipeline(NoOptions(), OneOption("x"))


def test_a_list_is_a_pipeline_where_a_pass_is_wanted() -> None:
    assert only("repeat: [no-options, one-option: x]") == Repeat(Pipeline(NoOptions(), OneOption("x")))
    assert only("repeat: {body: [no-options], limit: 3}") == Repeat(Pipeline(NoOptions()), 3)
    assert only("[no-options]") == Pipeline(NoOptions())


def test_an_option_may_be_a_pass() -> None:
    assert only("around: {inner: {one-option: x}, times: 3}") == Around(OneOption("x"), 3)


def test_whole_numbers_are_numbers() -> None:
    assert only("many-options: {ratio: 2}") == ManyOptions(ratio=2.0)


def test_a_union_takes_the_first_member_that_fits() -> None:
    assert recipe("many-options: {either: 3}", "many-options: {either: a}") == Pipeline(ManyOptions(either=3), ManyOptions(either="a"))


def test_no_passes_are_a_pipeline_too() -> None:
    assert load_recipe("version: 1\npasses: []\n") == Pipeline()


def test_anchors_stand_for_what_they_name() -> None:
    assert recipe("one-config: &low {nbits: 2}", "one-config: *low") == Pipeline(*[OneConfig(Scheme(nbits=2))] * 2)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("on", "on"), ("1e-3", 1e-3), (".5", 0.5), ("1_000", "1_000"), ("1:30", "1:30"), ("0x1F", 31), ("0o17", 15),
        ("017", 17), ("+3", 3), ("~", None), ("", None), ("True", True), ("-.inf", -math.inf), ("2026-01-01", "2026-01-01"),
        ("iOS18", "iOS18"), ("1.2.3", "1.2.3"), (".", "."), ("-", "-"),
    ],
)  # fmt: skip
def test_plain_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    found = resolve(text)
    assert (found, type(found)) == (value, type(value))


def test_a_recipe_is_read_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("\ufeffversion: 1\npasses: [dead-code]\n", encoding="utf-8")
    assert load_recipe(path) == load_recipe(str(path)) == Pipeline(DeadCode())


# Entries and settings of a command line


def test_inline_entries_are_entries_of_a_recipe() -> None:
    nodes = inline_entries(["one-option=x", "one-config: {nbits: 2}", "no-options, dead-code", "one-option=a=b, c"])
    assert pipeline_of(nodes) == Pipeline(
        OneOption("x"), OneConfig(Scheme(nbits=2)), NoOptions(), DeadCode(), OneOption("a=b, c")
    )


@pytest.mark.parametrize("entry", ["", "  ", "# nothing"])
def test_an_inline_entry_without_a_pass_is_refused(entry: str) -> None:
    with pytest.raises(RecipeError, match="expected a pass\n  --> --pass"):
        inline_entries([entry])


def test_a_pass_in_the_value_of_another_is_an_error_that_says_how_several_are_written() -> None:
    with pytest.raises(RecipeError) as raised:
        inline_entries(["raise-opset=iOS18, quantize-weights=int4"])
    assert str(raised.value) == (
        "the pass 'quantize-weights' stands in the value of another one\n"
        "  --> --pass 'raise-opset=iOS18, quantize-weights=int4':1:1\n"
        "  several on one line are written with colons, 'raise-opset: iOS18, quantize-weights: int4'; or repeat --pass"
    )


@pytest.mark.parametrize(
    ("entry", "setting", "result"),
    [
        ("one-config", "one-config.nbits=2", OneConfig(Scheme(nbits=2))),
        ("one-config: {mode: fast}", "one-config.nbits=2", OneConfig(Scheme(nbits=2, mode="fast"))),
        ("one-config: 2", "one-config.nbits=4", OneConfig(Scheme(nbits=4))),
        ("one-config: 2", "one-config.mode=fast", OneConfig(Scheme(nbits=2, mode="fast"))),
        ("one-option: x", "one-option=y", OneOption("y")),
        ("one-option: x", "one-option.target=y", OneOption("y")),
        ("many-options", "many-options.words=[a, b]", ManyOptions(words=("a", "b"))),
    ],
)
def test_a_setting_changes_one_option(entry: str, setting: str, result: Pass) -> None:
    assert pipeline_of(inline_entries([entry]), [setting]) == Pipeline(result)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("nonsense", "expected PASS.OPTION=VALUE"),
        ("one-confg.nbits=2", "the pipeline has no pass 'one-confg'\n  --> --set 'one-confg.nbits=2'\n  did you mean 'one-config'?"),
        ("no-options.x=1", "the pipeline has 2 passes 'no-options': it is not clear which is meant"),
        ("one-config.nbit=2", "one-config has no option 'nbit'\n  --> --set 'one-config.nbit=2':1:1"),
        ("one-config.nbits=x", 'expected a whole number, found "x"\n  --> --set'),
        ("one-config.nbits=[", "this is no YAML"),
    ],
)
def test_a_wrong_setting_is_named(setting: str, message: str) -> None:
    with pytest.raises(RecipeError) as raised:
        pipeline_of(inline_entries(["one-config", "no-options", "no-options"]), [setting])
    assert message in str(raised.value)


# Round trip

words = st.text(max_size=8)
numbers = st.floats(allow_nan=False, width=64)
inners = st.builds(Inner, ratio=numbers, label=st.none() | words)
schemes = st.builds(Scheme, nbits=st.sampled_from([4, 8]), group=st.none() | st.integers(), mode=st.sampled_from(["fast", "exact"]))
simple_passes = st.one_of(
    st.builds(NoOptions),
    st.builds(OneOption, target=words),
    st.builds(OneConfig, schemes),
    st.builds(
        ManyOptions,
        flag=st.booleans(),
        count=st.integers(),
        ratio=numbers,
        text=words,
        maybe=st.none() | st.integers(),
        either=st.integers() | words,
        words=st.lists(words, max_size=3).map(tuple),
        pair=st.tuples(st.integers(), numbers),
        sizes=st.dictionaries(words, st.integers(), max_size=3),
        level=st.sampled_from(Level),
        path=st.none() | words.map(Path),
        dtype=st.sampled_from(DTYPES),
        opset=st.sampled_from(OPSETS),
        inner=inners,
        inners=st.lists(inners, max_size=2).map(tuple),
    ),
    st.builds(RaiseOpset, st.sampled_from(OPSETS)),
    st.builds(
        QuantizeWeights,
        st.builds(
            Quantize,
            dtype=st.sampled_from(["int8", "uint8"]),
            mode=st.sampled_from(["symmetric", "asymmetric"]),
            granularity=st.sampled_from(["per-tensor", "per-channel"]),
            min_elements=st.integers(0),
            nonfinite=st.sampled_from(["skip", "error"]),
        ),
    ),
)
any_pass = st.recursive(
    simple_passes,
    lambda inner: st.one_of(
        st.builds(Around, inner, st.integers()),
        st.builds(Repeat, inner, st.integers(1, 9)),
        st.lists(inner, max_size=3).map(lambda each: Pipeline(*each)),
    ),
    max_leaves=5,
)


@given(st.lists(any_pass, max_size=4).map(lambda each: Pipeline(*each)))
def test_what_is_dumped_loads_as_it_was(pipeline: Pipeline) -> None:
    assert load_recipe(dump_recipe(pipeline)) == pipeline


@pytest.mark.parametrize("text", ["\x85", "\u2028", "a\nb ", " ", "\t", "\ufeff", "#", "- ", "x" * 200, "é", "null", "1e5", "0o7"])
def test_awkward_text_is_quoted(text: str) -> None:
    pipeline = Pipeline(ManyOptions(text=text, sizes={text: 1}, words=(text,)))
    assert load_recipe(dump_recipe(pipeline)) == pipeline


def test_a_dump_is_laid_out_as_one_writes_it() -> None:
    pipeline = Pipeline(
        RaiseOpset("iOS18"), QuantizeWeights(Quantize("uint8")), Pipeline(DeadCode(), OneOption("no")), OneConfig(Scheme()), NoOptions()
    )
    assert dump_recipe(pipeline) == (
        "version: 1\n"
        "passes:\n"
        "  - raise-opset: iOS18\n"
        "  - quantize-weights: {dtype: uint8}\n"
        "  - pipeline:\n"
        "      - dead-code\n"
        "      - one-option: 'no'\n"
        "  - one-config: {}\n"
        "  - no-options\n"
    )


def test_a_pass_alone_dumps_as_a_pipeline_of_it() -> None:
    assert load_recipe(dump_recipe(DeadCode())) == Pipeline(DeadCode())


def test_a_pass_that_no_recipe_can_name_cannot_be_dumped() -> None:
    class Private(NoOptions):
        """Not registered."""

    with pytest.raises(ConfigError, match="Private cannot stand in a recipe: there is no pass 'private'"):
        dump_recipe(Private())


def test_a_pass_with_anothers_name_cannot_be_dumped() -> None:
    class Impostor(NoOptions):
        name = "dead-code"

    with pytest.raises(ConfigError, match=r"'dead-code' is mlpasses\.cleanup\.dce\.DeadCode"):
        dump_recipe(Impostor())


# On one line


@given(st.lists(any_pass, max_size=4).map(lambda each: Pipeline(*each)))
def test_what_is_printed_on_one_line_reads_as_it_was(pipeline: Pipeline) -> None:
    assert parse_pipeline(str(pipeline)) == pipeline
    assert "\n" not in str(pipeline)


@given(any_pass)
def test_a_pass_prints_as_the_pipeline_of_it(each: Pass) -> None:
    (found,) = parse_pipeline(str(each) if type(each) is not Pipeline else f"pipeline: [{each}]")
    assert found == each


@pytest.mark.parametrize(
    ("pipeline", "text"),
    [
        (Pipeline(), ""),
        (DeadCode(), "dead-code"),
        (RaiseOpset("iOS18"), "raise-opset: iOS18"),
        (Pipeline(RaiseOpset("iOS18"), QuantizeWeights(Quantize("uint8")), DeadCode()),
         "raise-opset: iOS18, quantize-weights: {dtype: uint8}, dead-code"),
        (Pipeline(Repeat(Pipeline(NoOptions(), DeadCode()), 3)), "repeat: {body: [no-options, dead-code], limit: 3}"),
        (Pipeline(Pipeline(DeadCode())), "pipeline: [dead-code]"),
    ],
)  # fmt: skip
def test_a_pipeline_prints_as_the_entries_of_its_recipe(pipeline: Pass, text: str) -> None:
    assert str(pipeline) == text
    assert parse_pipeline(text) == (pipeline if isinstance(pipeline, Pipeline) else Pipeline(pipeline))


def test_lines_and_comments_are_free_in_it() -> None:
    assert parse_pipeline("dead-code, # the rest\n[no-options], raise-opset: iOS18\n") == Pipeline(
        DeadCode(), Pipeline(NoOptions()), RaiseOpset("iOS18")
    )


def test_what_no_recipe_can_say_prints_as_source() -> None:
    class Private(NoOptions):
        """Not registered."""

    assert str(Pipeline(Private())) == repr(Pipeline(Private()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dead-code, dead-cod", "there is no pass 'dead-cod'\n  --> <pipeline>:1:12  passes[1]\n  did you mean"),
        ("one-config: {nbit: 2}", "one-config has no option 'nbit'\n  --> <pipeline>:1:14  passes[0].one-config.nbit"),
        ("dead-code]", "this is no YAML: expected '<document start>', but found ']'\n  --> <pipeline>:2:1"),
        ("a: {", "this is no YAML: "),
        ("a: \0", "the character U+0000 is not allowed in YAML\n  --> <pipeline>:1:4"),
    ],
)
def test_a_mistake_in_it_has_its_place(text: str, message: str) -> None:
    with pytest.raises(RecipeError) as raised:
        parse_pipeline(text)
    assert message in str(raised.value)


@given(st.text() | st.lists(st.sampled_from(["dead-code", "[", "]", "{", "}", ", ", ": ", "\n", "---\n", "...\n", "#", "'"])).map("".join))
def test_no_text_of_a_pipeline_does_more_than_raise_a_recipe_error(text: str) -> None:
    with suppress(RecipeError):
        parse_pipeline(text)


# Mistakes, each with its place


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("one-confi", "there is no pass 'one-confi'\n  --> r.yaml:3:5  passes[0]\n  did you mean 'one-config'?"),
        ("one-confi: {nbits: 2}", "there is no pass 'one-confi'\n  --> r.yaml:3:5  passes[0].one-confi\n  did you mean"),
        ("one-config: {nbit: 2}", "one-config has no option 'nbit'\n  --> r.yaml:3:18  passes[0].one-config.nbit\n  did you mean 'nbits'?"),
        ("one-config: {nbits: '2'}", 'expected a whole number, found "2"\n  --> r.yaml:3:25  passes[0].one-config.nbits'),
        ("one-config: {nbits: 3}", "'nbits' must be in [2, 4, 8] (got 3)\n  --> r.yaml:3:25  passes[0].one-config.nbits"),
        ("one-config: {nbits: 2, group: 3}", "groups need more than 2 bits\n  --> r.yaml:3:17  passes[0].one-config"),
        ("one-config: {mode: exat}", 'expected fast or exact, found "exat"\n  --> r.yaml:3:24  passes[0].one-config.mode\n  did you mean'),
        ("one-config: {group: 1.5}", "expected a whole number or null, found 1.5\n  --> r.yaml:3:25"),
        ("one-config: true", "expected a whole number, found true\n  --> r.yaml:3:17  passes[0].one-config"),
        ("one-option", "one-option needs the option 'target': text\n  --> r.yaml:3:5  passes[0]"),
        ("one-option: {}", "one-option needs the option 'target': text\n  --> r.yaml:3:17  passes[0].one-option"),
        ("one-option: 3", "expected text, found 3\n  --> r.yaml:3:17  passes[0].one-option"),
        ("no-options: 3", "no-options takes no options, found 3\n  --> r.yaml:3:17  passes[0].no-options"),
        ("no-options: {a: 1}", "no-options has no option 'a'\n  --> r.yaml:3:18  passes[0].no-options.a\n  no-options takes no options"),
        ("many-options: {words: ab}", 'expected a list of text, found "ab"\n  --> r.yaml:3:27'),
        ("many-options: {words: [a, 2]}", "expected text, found 2\n  --> r.yaml:3:31  passes[0].many-options.words[1]"),
        ("many-options: {pair: [1]}", "expected a list of 2 items, found 1\n  --> r.yaml:3:26"),
        ("many-options: {sizes: {a: b}}", 'expected a whole number, found "b"\n  --> r.yaml:3:31  passes[0].many-options.sizes.a'),
        ("many-options: {dtype: int5}", 'expected an element type, found "int5"\n  --> r.yaml:3:27'),
        ("many-options: {opset: iOS12}", "there is no target 'iOS12'; the targets are iOS15"),
        ("many-options: {inner: 3}", "expected the options of Inner, found 3\n  --> r.yaml:3:27"),
        ("many-options: {inner: {x: 3}}", "Inner has no option 'x'\n  --> r.yaml:3:28  passes[0].many-options.inner.x"),
        ("many-options: {inners: [{ratio: a}]}", 'expected a number, found "a"\n  --> r.yaml:3:37  passes[0].many-options.inners[0].ratio'),
        ("around: {inner: nothing}", "there is no pass 'nothing'\n  --> r.yaml:3:21  passes[0].around.inner"),
        ("pipeline: [dead-cod]", "there is no pass 'dead-cod'\n  --> r.yaml:3:16  passes[0].pipeline[0]"),
        ("pipeline: 3", "expected a list of passes, found 3\n  --> r.yaml:3:15  passes[0].pipeline"),
        ("[dead-cod]", "there is no pass 'dead-cod'\n  --> r.yaml:3:6  passes[0][0]"),
        ("3", "expected the name of a pass, or a name with its options, found 3"),
        ("{}", "expected the name of a pass, found an empty mapping"),
        ("raise-opset: 18", "expected a target, such as iOS18, found 18\n  --> r.yaml:3:18  passes[0].raise-opset\n  did you mean iOS18?"),
        ("one-config: mode=fast", "passes[0].one-config\n  an option takes a colon and a space: mode: fast"),
        ("one-config:\n      mode:fast", "  --> r.yaml:4:7  passes[0].one-config\n  an option takes a colon and a space: mode: fast"),
        ("one-config:\n      - mode: fast", "  --> r.yaml:4:7  passes[0].one-config\n  options stand below the name without dashes"),
        ("raise-opset: 19", "expected a target, such as iOS18, found 19\n  --> r.yaml:3:18  passes[0].raise-opset"),
    ],
)
def test_a_wrong_entry_is_named_with_its_place(entry: str, message: str) -> None:
    assert message in error_in(entry)


def test_options_beside_the_name_instead_of_below_it_get_the_fix() -> None:
    assert error_in("one-config:\n    nbits: 2") == (
        "expected one pass in each item of the list, found one-config, nbits\n  --> r.yaml:3:5  passes[0]\n"
        "  options stand below the name, indented further: one-config: {nbits: …}"
    )


def test_all_mistakes_come_together_in_their_order() -> None:
    text = error_in("one-config: {nbits: x, nbit: 2}", "one-option", "dead-cod")
    assert [line.split()[1] for line in text.splitlines() if "-->" in line] == ["r.yaml:3:25", "r.yaml:3:28", "r.yaml:4:5", "r.yaml:5:5"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("version: '1'\npasses: []", "expected version 1, found '1'\n"),
        ("- dead-code", "expected a mapping with the keys version and passes, found a list\n  --> r.yaml:1:1"),
        ("dead-code", "expected a mapping with the keys version and passes, found 'dead-code'"),
        ("passes: []", 'the recipe has no version\n  --> r.yaml:1:1\n  start it with "version: 1"'),
        ("version: 1", "the recipe has no passes"),
        ("version: 1\npasses:", "expected a list of passes\n  --> r.yaml:2:8  passes"),
        ("version: 1\npasses: dead-code", "expected a list of passes\n  --> r.yaml:2:9  passes"),
        ("version: 2\npasses: []", "expected version 1, found 2\n  --> r.yaml:1:10  version"),
        ("version: '1'\npasses: []", "expected version 1, found '1'"),
        ("version: true\npasses: []", "expected version 1, found true"),
        ("version: 1\npases: []", "a recipe has no key 'pases'\n  --> r.yaml:2:1  pases\n  did you mean 'passes'?"),
        ("version: 1\nversion: 1", "the key 'version' occurs twice: it is first given at r.yaml:1:1\n  --> r.yaml:2:1"),
        ("version: 1\npasses:\n\t- dead-code", "a tab stands where YAML wants spaces\n  --> r.yaml:3:1"),
        ("a: [1", "this is no YAML: "),
        ("a: 'x\n", "this is no YAML: found unexpected end of stream"),
        ("a: *b", "there is no anchor &b before this alias\n  --> r.yaml:1:4"),
        ("a: &a [*a]", "the alias *a stands inside of what it refers to\n  --> r.yaml:1:8"),
        ("a: !!python/object:os.system x", "the tag !!python/object:os.system is no part of a recipe\n  --> r.yaml:1:4"),
        ("a: !own [x]", "the tag !own is no part of a recipe"),
        ("? [a]\n: b", "a key has to be a word\n  --> r.yaml:1:3"),
        ("a: 1\n---\nb: 1", "a second document starts here, where a file holds one recipe\n  --> r.yaml:2:1"),
        ("a: " + "9" * 5000, "a number of 5000 digits is beyond anything that an option can be"),
        ("a: \0", "the character U+0000 is not allowed in YAML\n  --> r.yaml:1:4"),
        (b"version: 1\n# caf\xe9\n", "the byte 0xe9 is not UTF-8\n  --> r.yaml:2:6\n  save the file as UTF-8"),
        ("[" * 3000, "this is nested more than 64 levels deep"),
        ("version:1\n\npasses: []", "this is no YAML: mapping values are not allowed here\n  --> r.yaml:3:7\n"
         "  a colon needs a space behind it: version: 1"),
        ("a: " * 70, "this is no YAML: mapping values are not allowed here"),
        ("# " + "x" * (1 << 20), "no recipe has more than 1048576"),
    ],
)
def test_a_wrong_document_is_named_with_its_place(text: str | bytes, message: str) -> None:
    assert message in error_of(text)


def test_a_bomb_of_aliases_is_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 20)]
    assert "more than 100000 nodes, its aliases written out" in error_of("\n".join(lines))


@pytest.mark.parametrize(("name", "message"), [("none.yaml", "No such file"), (".", "Is a directory"), ("a\0b", "null byte")])
def test_a_file_that_cannot_be_read_is_named(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=f"the recipe .* cannot be read: .*{message}"):
        load_recipe(tmp_path / name)


@given(st.text() | st.binary())
def test_no_text_does_more_than_raise_a_recipe_error(text: str | bytes) -> None:
    with suppress(RecipeError):
        pipeline_of(entries_in(text, "r.yaml"))


yaml_words = st.sampled_from(
    ["dead-code", "one-config", "nbits", "1", "*a", "&a ", "[", "]", "{", "}", ": ", ", ", "\n", "  ", "- ", "'", "!x ", "|\n", "? "]
)


@given(st.lists(yaml_words, max_size=30).map("".join))
def test_no_yaml_does_more_than_raise_a_recipe_error(text: str) -> None:
    with suppress(RecipeError):
        pipeline_of(entries_in(f"version: 1\npasses:\n- {text}", "r.yaml"))
