"""The pass: opsets, versions, functions, specializations, blocks."""

from __future__ import annotations

from pathlib import Path

import pytest

from ir.builder import FunctionBuilder, build_program
from ir.const import Const
from ir.core import Op, Program
from ir.diagnostics import MLPassesError
from ir.opset import IOS15, IOS16, IOS17, IOS18, IOS26, OPSETS, Opset
from ir.text import parse, to_text
from ir.types import FP16, TensorType
from mlpasses.context import Context
from mlpasses.errors import ConfigError
from mlpasses.manager import run
from mlpasses.raising import RaiseOpset
from tests.opset.check import fragment, later, raised
from tests.oracle import accepted

RELU = "inputs %x: fp16[8]\n%y: fp16[8] = relu(x=%x)"
GATHER = "inputs %x: fp16[8], %i: int32[2]\n%y: fp16[2] = gather(x=%x, indices=%i, axis=0)"
PAIRS = [pytest.param(old, new, id=f"{old}-{new}") for old in OPSETS for new in later(old)]


def apply(program: Program, target: Opset | str) -> tuple[int, Context]:
    context = Context(pass_name="raise-opset")
    return RaiseOpset(target).apply(program, context), context


def reasons(context: Context) -> list[tuple[str, str]]:
    return [(note.where, note.reason) for note in context.notes]


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_function_and_program_are_of_the_new_opset(old: Opset, new: Opset) -> None:
    result = raised(fragment(RELU, old), new)
    assert result.main.opset == new.key
    assert list(result.main.specializations) == [new.key]
    assert result.spec_version == new.spec_version


def test_target_may_be_a_name_in_any_case() -> None:
    assert RaiseOpset("iOS18") == RaiseOpset("ios18") == RaiseOpset(IOS18)


def test_unknown_target_is_an_error_that_lists_the_targets() -> None:
    with pytest.raises(MLPassesError, match="no target 'iOS19'; the targets are iOS15, iOS16, iOS17, iOS18, iOS26"):
        RaiseOpset("iOS19")


@pytest.mark.parametrize("target", OPSETS, ids=str)
def test_program_at_the_target_does_not_change(target: Opset) -> None:
    program = fragment(GATHER, target)
    before, version = to_text(program).text, program.version
    changes, context = apply(program, target)
    assert (changes, program.version, to_text(program).text, context.notes) == (0, version, before, [])


def test_program_above_the_target_does_not_change_and_the_report_says_why() -> None:
    program = fragment(GATHER, IOS18)
    before = to_text(program).text
    changes, context = apply(program, IOS16)
    assert (changes, to_text(program).text) == (0, before)
    assert reasons(context) == [("function main", "it is at iOS18, and an opset is never lowered, not to iOS16 either")]


@pytest.mark.parametrize("target", later(IOS15), ids=str)
def test_second_run_changes_nothing(target: Opset) -> None:
    program = fragment(GATHER, IOS15)
    assert apply(program, target)[0] > 0
    version = program.version
    assert (apply(program, target)[0], program.version) == (0, version)


def test_changes_count_the_function_the_version_and_each_changed_op_once() -> None:
    assert apply(fragment(RELU, IOS15), IOS18)[0] == 2
    assert apply(fragment(GATHER, IOS15), IOS18)[0] == 3


def test_unknown_opset_is_an_error() -> None:
    program = fragment(RELU, IOS15)
    program.main.set_opset("CoreML99")
    with pytest.raises(ConfigError, match="function main has the opset CoreML99, which mlpasses does not know; it knows CoreML5"):
        apply(program, IOS18)


def test_specification_version_that_is_higher_stays() -> None:
    program = fragment(RELU, IOS15)
    program.spec_version = 9
    apply(program, IOS16)
    assert (program.main.opset, program.spec_version) == ("CoreML6", 9)


def test_specification_version_alone_is_raised_where_only_it_is_low() -> None:
    program = fragment(RELU, IOS18)
    program.spec_version = 6
    assert (apply(program, IOS17)[0], program.spec_version) == (1, 8)


def test_stages_of_a_pipeline_and_their_wrapper_are_raised_together() -> None:
    inner = Program(spec_version=6)
    inner.stages = {(0,): fragment(GATHER, IOS15)}
    wrapper = Program(spec_version=7)
    wrapper.stages = {(0,): fragment(RELU, IOS16), (2,): inner}
    apply(wrapper, IOS17)
    assert [program.spec_version for program in wrapper.programs()] == [8, 8, 8, 8]
    assert [function.opset for function in wrapper.all_functions()] == ["CoreML7", "CoreML7"]


def test_each_function_is_raised_from_its_own_opset() -> None:
    program = fragment(GATHER, IOS15)
    newer = fragment(GATHER.replace("axis=0", "axis=0, batch_dims=0"), IOS16).main.clone("newer")
    newest = fragment(RELU, IOS18).main.clone("newest")
    program.add_function(newer)
    program.add_function(newest)
    result = raised(program, IOS17)
    assert {name: function.opset for name, function in result.functions.items()} == {
        "main": "CoreML7", "newer": "CoreML7", "newest": "CoreML8"
    }  # fmt: skip
    for name in ("main", "newer"):
        assert [len(list(result.functions[name].ops(op_type))) for op_type in ("select", "gather")] == [1, 1]


def test_other_specializations_are_dropped_with_a_note() -> None:
    program = fragment(GATHER, IOS15)
    for opset in (IOS16, IOS18):
        program.main.add_block(opset.key, fragment(RELU, opset).main.body.clone())
    changes, context = apply(program, IOS18)
    assert changes > 0
    assert list(program.main.specializations) == ["CoreML8"]
    assert [op.op_type for op in program.main.body][-1] == "gather"
    assert reasons(context) == [
        ("function main", "dropped its specialization for CoreML6, which is not the active one"),
        ("function main", "dropped its specialization for CoreML8, which is not the active one"),
    ]


def test_other_specializations_stay_where_nothing_is_raised() -> None:
    program = fragment(RELU, IOS18)
    program.main.add_block("CoreML5", fragment(RELU, IOS15).main.body.clone())
    apply(program, IOS17)
    assert set(program.main.specializations) == {"CoreML8", "CoreML5"}


NESTED = """
program spec_version 6

func main<CoreML5>(%p: bool, %x: fp16[8], %i: int32[2]) {
  %y: fp16[2] = cond(pred=%p) block {
    %a: fp16[2] = gather(x=%x, indices=%i, axis=0)
    return %a
  } block {
    %b: fp16[2] = gather(x=%x, indices=%i, axis=0)
    return %b
  }
  %z: fp16[2] = gather(x=%x, indices=%i, axis=0)
  %w: fp16[2] = gather(x=%x, indices=%i, axis=0)
  return %y, %z, %w
}
"""


def test_nested_blocks_are_raised_with_a_guard_where_none_can_be_seen() -> None:
    result = raised(parse(NESTED), IOS17)
    body, (then, other) = result.main.body, next(result.main.body.ops("cond")).blocks
    assert [len(list(block.ops("select"))) for block in (body, then, other)] == [1, 1, 1]
    assert all("validate_indices" in op for op in result.main.ops("gather"))


def test_guard_before_a_nested_block_is_used_in_it() -> None:
    z = "  %z: fp16[2] = gather(x=%x, indices=%i, axis=0)\n"
    text = NESTED.replace(z, "").replace("  %y: fp16[2] = cond", z + "  %y: fp16[2] = cond")
    result = raised(parse(text), IOS17)
    assert len(list(result.main.ops("select"))) == 1
    assert len({op["indices"] for op in result.main.ops("gather")}) == 1


def test_guard_in_a_nested_block_is_used_there_and_deeper() -> None:
    gather = "    %a: fp16[2] = gather(x=%x, indices=%i, axis=0)\n"
    deeper = """    %d: fp16[2] = cond(pred=%p) block {
      %e: fp16[2] = gather(x=%x, indices=%i, axis=0)
      return %e
    } block {
      return %a
    }
"""
    result = raised(parse(NESTED.replace(gather, gather + gather.replace("%a", "%c") + deeper)), IOS17)
    (then, _) = next(result.main.body.ops("cond")).blocks
    (inner, _) = next(then.ops("cond")).blocks
    assert [len(list(block.ops("select"))) for block in (then, inner)] == [1, 0]
    assert len({op["indices"] for block in (then, inner) for op in block.ops("gather")}) == 1


def test_op_that_no_table_has_is_carried_over_with_a_note() -> None:
    program = fragment(RELU, IOS15)
    last = program.main.body.last
    assert last is not None
    program.main.body.append(Op("my_op", {"x": last.output, "strange": Const.of(1)}, [("z", last.output.type)]))
    _, context = apply(program, IOS18)
    assert [op.op_type for op in program.main.body] == ["relu", "my_op"]
    assert reasons(context) == [("function main", "nothing is known of my_op in any opset: it was carried over as it is")]


def test_made_ops_say_where_they_come_from() -> None:
    program = fragment(GATHER, IOS15)
    _, context = apply(program, IOS17)
    gather = next(program.main.ops("gather"))
    assert set(context.touched) == {*program.main.body}
    for op in context.touched:
        assert (op.origin.pass_name, op.origin.rule, op.origin.sources) == ("raise-opset", "gather at iOS17", (gather.name,))


def test_program_handed_to_run_stays_as_it_was() -> None:
    program = fragment(GATHER, IOS15)
    before = to_text(program).text
    run(program, RaiseOpset(IOS18))
    assert to_text(program).text == before


def test_several_functions_are_accepted_by_coremltools(tmp_path: Path) -> None:
    functions = []
    for name in ("one", "two"):
        with FunctionBuilder(name, {"x": TensorType(FP16, (4, 4))}, IOS18) as f:
            f.outputs(y=f.op("gather", x=f.inputs["x"], indices=[1], axis=0))
        functions.append(f)
    (program,) = accepted(raised(build_program(*functions), IOS26).save(tmp_path / "two.mlpackage"))
    assert set(program.functions) == {"one", "two"}


@pytest.mark.parametrize("text", ["%y: fp16[2] = gather(x=%x, axis=0)", "%y: fp16[2] = gather(indices=%i)", "%y: fp16[2] = clip(x=%x)",
                                  "%y: fp16[2], %z: fp16[2] = clip(x=%x, alpha=0.0, beta=0.0)", '%y: fp16[2] = reshape(x=%x, shape="two")',
                                  '%y: fp16[2] = gather(x=%x, indices=%i, axis="last")', "%y: fp16[2] = gather(x=%x, indices=%i, axis=3)",
                                  "%y: fp16[2] = gather(x=%x, indices=[-0.5], axis=0)"])  # fmt: skip
def test_malformed_op_is_named(text: str) -> None:
    program = fragment("inputs %x: fp16[8], %i: int32[2]\n" + text, IOS15)
    with pytest.raises(ConfigError, match=r"cannot be raised to iOS17:\n- \w+ y in function main: "):
        apply(program, IOS17)
