"""Filters: what each asks, how they combine, how they print, and what they refuse."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from ir.builder import FunctionBuilder, build_program
from ir.const import Const
from ir.core import Block, Function, Op, Program, Value
from ir.opset import IOS16, IOS18
from ir.types import BOOL, FP16, FP32, UINT4, UNKNOWN, ListType, TensorType
from mlpasses import select
from mlpasses.candidates import candidates
from mlpasses.errors import ConfigError
from mlpasses.select import (
    Filter,
    Leaf,
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
from mlpasses.subjects import Subject, Table, groups, op_subject, op_subjects, weight_subjects
from tests.select.models import decode, decoder, type_of, weights, zeros


def chosen(program: Program, keep: Filter) -> list[str]:
    """The weights that a filter means, in their order; each use of one that has several by itself."""
    found: list[str] = []
    for subject in weights(program):
        faces = [face for face in subject.faces if keep.matches(face)]
        found += [subject.name if len(subject.faces) == 1 else f"{subject.name} as {face!r}" for face in faces]
    return found


def ops(program: Program, keep: Filter) -> list[str]:
    return [op.name for op in matching_ops(program, keep)]


# names


def test_exact_name_matches_the_weights_value() -> None:
    assert chosen(decoder(), name("layers_1_mlp_up_weight")) == ["layers_1_mlp_up_weight"]


def test_exact_name_matches_the_op_that_uses_the_weight() -> None:
    assert chosen(decoder(), name("layers_1_mlp_up")) == ["layers_1_mlp_up_weight"]


def test_exact_name_is_no_prefix() -> None:
    assert chosen(decoder(), name("layers_1")) == []


def test_glob_matches_the_whole_name() -> None:
    assert chosen(decoder(), name("layers_?_attn_[pq]_weight")) == ["layers_0_attn_q_weight", "layers_1_attn_q_weight"]
    assert chosen(decoder(), name("attn*")) == []


def test_regular_expression_matches_in_full() -> None:
    assert chosen(decoder(), name(r"re:layers_\d_attn_q_weight")) == ["layers_0_attn_q_weight", "layers_1_attn_q_weight"]
    assert chosen(decoder(), name("re:attn")) == []


def test_one_of_several_names_is_enough() -> None:
    assert chosen(decoder(), name("layers_0_attn_q", "re:.*_1_mlp.*")) == ["layers_0_attn_q_weight", "layers_1_mlp_up_weight"]


def test_names_are_case_sensitive() -> None:
    assert chosen(decoder(), name("Layers_*")) == []


def test_name_of_a_consumer_is_that_of_its_use_only() -> None:
    assert chosen(decoder(), name("lm_head")) == ["embed as weight of linear lm_head"]


def test_own_name_is_that_of_every_use() -> None:
    assert chosen(decoder(), name("embed")) == ["embed as x of gather tokens", "embed as weight of linear lm_head"]


def test_op_is_called_as_its_attribute_and_as_its_first_output() -> None:
    block = Block()
    block.append(Op("relu", {}, [("first", type_of(1)), ("second", type_of(1))], {"name": Const.of("named")}))
    main = Function("main", (), "CoreML6")
    main.add_block("CoreML6", block)
    program = Program([main])
    assert [ops(program, name(each)) for each in ("named", "first", "second")] == [["named"], ["named"], []]


def test_user_that_takes_the_weight_as_no_weight_gives_all_uses_its_name() -> None:
    with FunctionBuilder("main", {"x": type_of(1, 4)}, IOS16) as f:
        w = f.const(zeros(4, 4), name="w")
        a = f.op("linear", name="a", x=f.inputs["x"], weight=w)
        f.outputs(f.op("add", name="shift", x=a, y=w), f.op("linear", name="b", x=a, weight=w))
    program = build_program(f)
    assert chosen(program, name("shift")) == ["w as weight of linear a", "w as weight of linear b"]
    assert chosen(program, name("b")) == ["w as weight of linear b"]


def test_name_that_is_a_glob_for_fnmatch_needs_a_bracket_to_match_one() -> None:
    assert name("x[[]0]").matches(op_subject(Op("relu", {}, [("x[0]", type_of(1))])).faces[0])


def test_names_of_a_subject_are_computed_once() -> None:
    subject = weights(decoder())[0]
    assert subject.names is subject.names


# op types, parameters, consumers


def test_op_type_of_a_weight_is_that_of_the_op_that_uses_it() -> None:
    assert chosen(decoder(1), op_type("linear")) == [
        "embed as weight of linear lm_head", "layers_0_attn_q_weight", "layers_0_mlp_up_weight",
    ]  # fmt: skip


def test_op_type_is_asked_of_each_use() -> None:
    assert chosen(decoder(0), op_type("gather")) == ["embed as x of gather tokens"]


def test_consumer_is_asked_of_the_weight_as_a_whole() -> None:
    assert chosen(decoder(0), consumer("gather")) == ["embed as x of gather tokens", "embed as weight of linear lm_head"]


def test_consumer_of_an_op_is_what_uses_its_result() -> None:
    assert ops(decoder(1), consumer("relu")) == ["layers_0_mlp_up"]


def test_param_is_the_parameter_that_the_weight_stands_in() -> None:
    assert chosen(decoder(0), param("x")) == ["embed as x of gather tokens"]
    assert chosen(decoder(0), param("wei*")) == ["embed as weight of linear lm_head"]


def test_param_means_no_op() -> None:
    assert ops(decoder(), param("weight", "x")) == []


def test_use_of_one_weight_for_two_parameters_of_an_op_is_two_uses() -> None:
    with FunctionBuilder("main", {"x": type_of(4, 4)}, IOS16) as f:
        w = f.const(zeros(4, 4), name="w")
        f.outputs(f.op("matmul", name="square", x=w, y=w))
    assert chosen(build_program(f), param("y")) == ["w as y of matmul square"]


# measures


def test_comparisons_are_of_the_weight() -> None:
    program = decoder(0, tied=False)
    assert chosen(program, numel >= 512) == ["embed", "lm_head_weight"]
    assert chosen(program, numel > 512) == []
    assert chosen(program, nbytes == 1024) == ["embed", "lm_head_weight"]
    assert chosen(program, rank != 2) == []
    assert chosen(program, numel <= 511) == []
    assert chosen(program, rank < 3) == ["embed", "lm_head_weight"]


def test_bytes_are_counted_as_packed() -> None:
    op = Op("made_up", {}, [("q", TensorType(UINT4, (3,)))])
    assert (nbytes == 2)(op)


def test_comparisons_are_of_an_ops_first_result() -> None:
    assert ops(decoder(0), (rank == 3) & (numel == 4 * 32)) == ["lm_head"]


@pytest.mark.parametrize("unknown", [TensorType(FP16, (UNKNOWN, 4)), ListType(TensorType(FP16, (4,)), 2)])
def test_what_is_unknown_satisfies_no_comparison(unknown: Any) -> None:
    op = Op("made_up", {}, [("v", unknown)])
    assert not (numel >= 0)(op)
    assert not (numel != 4)(op)
    assert not (nbytes < 1 << 40)(op)


def test_unknown_rank_satisfies_no_comparison() -> None:
    assert not (rank < 9)(Op("made_up", {}, [("v", TensorType(FP16, (), -1))]))


def test_op_without_results_has_no_measures() -> None:
    assert not ((rank >= 0) | (numel >= 0) | dtype("fp16"))(Op("write_state", {}, []))


def test_dtype_is_that_of_the_weight() -> None:
    assert chosen(decoder(0, tied=False), dtype("fp16")) == ["embed", "lm_head_weight"]
    assert chosen(decoder(0, tied=False), dtype("fp32", "int8")) == []


def test_dtype_takes_the_element_type_itself() -> None:
    assert dtype(FP16, FP32) == dtype("fp16", "fp32")


def test_opset_is_that_of_the_specialization_around() -> None:
    program = build_program(decode(0, tied=False, opset=IOS16, function="old"), decode(0, tied=False, opset=IOS18, function="new"))
    assert len(chosen(program, opset >= "iOS18")) == 2
    assert len(chosen(program, opset < IOS18)) == 2
    assert ops(program, (opset == "ios18") & op_type("linear")) == ["lm_head"]


def test_opset_of_the_future_satisfies_no_comparison() -> None:
    main = Function("main", [("x", type_of(1))], "CoreML99")
    block = Block()
    main.add_block("CoreML99", block)
    block.append(Op("relu", {"x": main.inputs[0]}, [("y", type_of(1))]))
    assert ops(Program([main]), (opset >= "iOS15") | (opset < "iOS15")) == []


def test_function_is_the_one_around() -> None:
    program = build_program(decode(0, tied=False, function="prefill"), decode(0, tied=False, function="decode"))
    assert ops(program, function("de*") & op_type("linear", "gather")) == ["tokens", "lm_head"]
    assert len(chosen(program, function("prefill", "decode"))) == 4


# ops in nested blocks


def nested() -> Program:
    with FunctionBuilder("main", {"p": TensorType(BOOL), "x": type_of(1, 4)}, IOS16) as f:
        with f.nested() as then:
            then.outputs(then.op("relu", name="inner", x=f.inputs["x"]))
        with f.nested() as other:
            other.outputs(other.op("tanh", name="other", x=f.inputs["x"]))
        f.outputs(f.op("cond", name="c", pred=f.inputs["p"], blocks=[then, other], outputs=[("c", type_of(1, 4))]))
    return build_program(f)


def test_ops_in_nested_blocks_are_found() -> None:
    assert ops(nested(), op_type("relu", "tanh")) == ["inner", "other"]
    assert ops(nested(), function("main") & name("i*") & (opset == "iOS16")) == ["inner"]


# combinations


def test_combinations_print_as_their_source() -> None:
    assert repr(op_type("conv", "linear") & ~name("*head*")) == 'op_type("conv", "linear") & ~name("*head*")'
    assert repr((numel >= 65536) & (rank == 4) | ~(opset < "iOS18")) == '(numel >= 65536) & (rank == 4) | ~(opset < "iOS18")'
    assert repr(~(name("a") | name("b")) & (everything | nothing)) == '~(name("a") | name("b")) & (everything | nothing)'


def test_and_and_or_are_associative() -> None:
    a, b, c = name("a"), name("b"), name("c")
    assert (a & b) & c == a & (b & c)
    assert (a | b) | c == a | (b | c)
    assert (a & b) | c != a & (b | c)


def test_negation_twice_is_the_filter_itself() -> None:
    assert ~~name("a") == name("a")
    assert ~everything == nothing


def test_reflected_comparison_is_turned_round() -> None:
    bound = 65536
    assert eval("bound <= numel", {"bound": bound, "numel": numel}) == (numel >= bound)


def test_whole_float_is_a_bound() -> None:
    assert (numel >= 1e6) == (numel >= 1_000_000)


def test_filters_are_hashable_and_compare_by_value() -> None:
    assert len({name("a") & op_type("conv"), name("a") & op_type("conv"), name("b"), op_type("b"), consumer("b")}) == 4


def test_filters_can_be_pickled() -> None:
    keep = op_type("conv") & ~name("re:a.*", "*b") | (opset >= "iOS18") | everything
    copy = pickle.loads(pickle.dumps(keep))
    assert copy == keep
    assert copy(Op("relu", {}, [("ab", type_of(1))]))


def test_filter_may_be_asked_of_an_op_or_a_subject() -> None:
    program = decoder(0)
    assert op_type("linear")(next(iter(program.ops("linear"))))
    assert op_type("linear")(weights(program)[0])
    assert not op_type("conv")(weights(program)[0])


# cost


@pytest.mark.parametrize(
    ("keep", "bound"),
    [
        (op_type("conv", "linear") & ~name("*head*"), {"conv", "linear"}),
        (op_type("conv") & op_type("linear"), set()),
        (op_type("conv") | op_type("linear") & (rank == 2), {"conv", "linear"}),
        (op_type("conv") | name("a"), None),
        (~op_type("conv"), None),
        (op_type("conv") | nothing, {"conv"}),
        (everything, None),
    ],
)
def test_filter_bounds_the_op_types(keep: Filter, bound: set[str] | None) -> None:
    assert keep.op_types() == bound


def test_matching_ops_looks_at_no_op_of_another_type(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def named(op: Op) -> str:
        seen.append(op.op_type)
        return op.outputs[0].name

    monkeypatch.setattr(Op, "name", property(named))
    list(matching_ops(decoder(), op_type("relu") & name("*_act")))
    assert set(seen) == {"relu"}


def test_each_distinct_value_is_asked_once() -> None:
    asked: list[str] = []

    class Counting(Leaf):
        aspect = "op_type"

        def accepts(self, value: str) -> bool:
            asked.append(value)
            return value == "linear"

    table = Table(weights(decoder(5)))
    assert table.count(Counting().mask(table)) == 11
    assert sorted(asked) == ["gather", "linear"]


def test_op_subjects_of_no_type_are_none() -> None:
    assert op_subjects(decoder(), ()) == []


# weights that are stored once


def test_weights_with_one_tensor_are_grouped() -> None:
    with FunctionBuilder("main", {"x": type_of(1, 4)}, IOS16) as f:
        a = f.const(zeros(4, 4), name="a")
        b = f.const(zeros(4, 4), name="b")
        x = f.op("linear", x=f.inputs["x"], weight=a)
        f.outputs(f.op("linear", x=x, weight=b))
    program = build_program(f)
    copy = program.main.clone("twin")
    program.add_function(copy)
    subjects = weights(program)
    assert [subject.name for subject in subjects] == ["a", "b", "a", "b"]
    assert groups(subjects) == [(0, 2), (1, 3)]


def test_ops_are_not_grouped() -> None:
    program = decoder(0)
    assert len(groups(op_subjects(program))) == len(op_subjects(program))


def test_what_a_block_returns_is_no_use_to_ask_of() -> None:
    with FunctionBuilder("main", {"x": type_of(1, 4)}, IOS16) as f:
        w = f.const(zeros(4, 4), name="w")
        f.outputs(w, f.op("linear", x=f.inputs["x"], weight=w))
    (subject,) = weight_subjects(candidates(build_program(f), 1))
    assert [face.parameter for face in subject.faces] == ["weight"]
    assert Subject("weight", subject.op, IOS16, subject.op.output.uses).uses == subject.uses


# refusals


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ('name("re:*attn*")', 'is no regular expression: nothing to repeat at position 0; did you mean the glob "*attn*"?'),
        ('name("re:[[a]x")', r"may mean something else in a later Python: possible nested set at position 1; escape what is meant"),
        ('name("re:a(")', "is no regular expression: missing ), unterminated subpattern"),
        ("name()", "name() asks for nothing"),
        ('name("")', "nothing has an empty name"),
        ('name("re:")', 'name("re:") can match nothing: nothing has an empty name'),
        ('name(["a", "b"])', 'name takes each as an argument of its own: name("a", "b")'),
        ("op_type(3)", "op_type takes text, not 3"),
        ('op_type("constexpr_*")', 'op_type takes whole words, and "constexpr_*" is a pattern'),
        ('dtype("float16")', "there is no element type 'float16'; did you mean 'fp16'?"),
        ('dtype("itn8")', "there is no element type 'itn8'; did you mean 'int8'"),
        ('opset >= "iOS14"', "there is no target 'iOS14'; the targets are iOS15"),
        ("opset >= 18", 'opset is compared with a target, as in opset >= "iOS18", not with 18'),
        ("numel >= 0.5", "numel is compared with a whole number, not with 0.5"),
        ('numel >= "4"', "numel is compared with a whole number, not with '4'"),
        ("rank == True", "rank is compared with a whole number, not with True"),
        ('op_type("conv") & rank == 4', "put comparisons into parentheses"),
        ('rank == 4 & name("a")', "put comparisons into parentheses"),
        ('numel >= 4 | name("a")', "put comparisons into parentheses"),
        ("1 < numel < 9", "combine filters with &, | and ~"),
        ('name("a") and name("b")', "combine filters with &, | and ~"),
        ("not numel", "numel is no filter: compare it with something"),
        ('name("a") & "b"', 'write name("b") or op_type("b")'),
        ('name("a") | None', "| combines filters, and None is none"),
    ],
)
def test_mistakes_are_refused_when_they_are_made(source: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        eval(source, vars(select) | {"name": name})
    assert said in str(error.value)


def test_unknown_op_type_is_legal() -> None:
    op = Op("made_up", {}, [("y", type_of(1))])
    assert op_type("made_up")(op)
    assert isinstance(op.outputs[0], Value)
