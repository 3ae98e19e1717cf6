"""Pipelines: order, nesting, editing by name, fixed points; and what the manager guarantees around each pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import frozen

from ir.const import Const
from ir.core import Block, Function, Op, Program
from ir.diagnostics import InvalidProgramError, MLPassesError
from ir.types import FP16, TensorType
from mlpasses.context import Context
from mlpasses.errors import ConfigError, PassError
from mlpasses.instruments import Instrument
from mlpasses.manager import run
from mlpasses.passes import FunctionPass, Pass, ProgramPass, kebab
from mlpasses.pipeline import Composite, Pipeline, Repeat, Step

VECTOR = TensorType(FP16, (4,))


def program() -> Program:
    """x → relu a → relu b → relu c → relu y"""
    function = Function("main", [("x", VECTOR)], "CoreML7")
    block = Block()
    value = function.inputs[0]
    for name in ("a", "b", "c", "y"):
        op = Op("relu", {"x": value}, [(name, VECTOR)])
        block.append(op)
        value = op.output
    block.set_outputs([value])
    function.add_block("CoreML7", block)
    return Program([function], spec_version=8)


@frozen
class DropOneRelu(FunctionPass):
    """relu(relu(x)) → relu(x), once"""

    def run(self, fn: Function, cx: Context) -> int:
        for op in fn.ops("relu"):
            source = op["x"]
            inner = None if isinstance(source, Const) else source.op
            if inner is not None and not op.output.is_output:
                op.output.replace_uses(source)
                op.erase()
                return 1
        return 0


@frozen
class Log(ProgramPass):
    """Writes down that it ran."""

    to: list[str]
    word: str = "log"

    def run(self, program: Program, cx: Context) -> int:
        self.to.append(self.word)
        return 0


@frozen
class Misbehave(ProgramPass):
    """Does whatever it is told, and claims `claims` changes."""

    act: Callable[[Program], object]
    claims: int = 1

    def run(self, program: Program, cx: Context) -> int:
        self.act(program)
        return self.claims


def names(pipeline: Pipeline) -> list[str]:
    return [each.word if isinstance(each, Log) else each.name for each in pipeline.flat()]


def logs(*words: str) -> Pipeline:
    return Pipeline(*(Log([], word) for word in words))


@pytest.mark.parametrize(
    ("name", "expected"), [("QuantizeWeights", "quantize-weights"), ("DeadCode", "dead-code"), ("FuseLUTs", "fuse-lu-ts"), ("CSE", "cse")]
)
def test_text_name_is_the_class_name_in_kebab_case(name: str, expected: str) -> None:
    assert kebab(name) == expected


def test_passes_run_in_order_nested_ones_where_they_stand() -> None:
    said: list[str] = []
    run(program(), Pipeline(Log(said, "a"), Pipeline(Log(said, "b"), Log(said, "c")), Log(said, "d")))
    assert said == ["a", "b", "c", "d"]


def test_program_handed_in_never_changes() -> None:
    before = program()
    text, version = str(before), before.version
    result = run(before, DropOneRelu())
    assert (str(before), before.version) == (text, version)
    assert len(list(result.program.ops("relu"))) == 3


def test_repeat_runs_to_the_fixed_point_and_no_further() -> None:
    result = run(program(), Repeat(DropOneRelu()))
    assert [row.changes for row in result.report.passes] == [1, 1, 0]
    assert not result.report.notes


def test_repeat_that_does_not_settle_says_so() -> None:
    result = run(program(), Repeat(DropOneRelu(), limit=1))
    assert "still changing after 1 rounds" in result.report.notes[0].reason


def test_insert_before_and_after_by_name() -> None:
    pipeline = Pipeline(DropOneRelu(), Pipeline(Log([], "x")))
    assert names(pipeline.insert_before("log", Log([], "new"))) == ["drop-one-relu", "new", "x"]
    assert names(pipeline.insert_after(DropOneRelu, Log([], "new"))) == ["drop-one-relu", "new", "x"]


def test_edit_reaches_into_repeats() -> None:
    pipeline = Pipeline(Repeat(DropOneRelu(), limit=3))
    assert pipeline.insert_after("drop-one-relu", Log([], "new")).passes == (Repeat(Pipeline(DropOneRelu(), Log([], "new")), limit=3),)


def test_edit_leaves_the_original_alone() -> None:
    pipeline = logs("a")
    pipeline.replace("log", DropOneRelu())
    assert names(pipeline) == ["a"]


def test_replace_and_without() -> None:
    assert names(logs("a", "b").replace("log", DropOneRelu(), nth=1)) == ["a", "drop-one-relu"]
    assert names(logs("a", "b").without("log")) == []
    assert names(logs("a", "b").without("log", nth=0)) == ["b"]


def test_ambiguous_edit_is_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match="2 passes log: say which with nth=0 to nth=1"):
        logs("a", "b").insert_before("log", DropOneRelu())


def test_edit_of_a_missing_pass_lists_what_is_there() -> None:
    with pytest.raises(ConfigError, match="no pass cleanup; it has log"):
        logs("a").without("cleanup")


def test_class_in_place_of_an_instance_is_refused() -> None:
    with pytest.raises(PassError, match=r"write DropOneRelu\(\)"):
        Pipeline(DropOneRelu)  # type: ignore[arg-type]


def test_text_in_place_of_a_pass_is_refused_with_what_makes_one_of_it() -> None:
    with pytest.raises(PassError, match=r"and 'dead-code' is none: mlpasses\.parse_pipeline\(\"dead-code\"\) makes one of text"):
        Pipeline("dead-code")  # type: ignore[arg-type]


@pytest.mark.parametrize("exact", [False, True])
def test_a_path_in_place_of_a_program_is_refused_with_what_makes_one_of_it(exact: bool) -> None:
    said = r"passes run over a program, and 'm\.mlpackage' is none: mlpasses\.load\(path\) makes one of a package"
    with pytest.raises(PassError, match=said):
        run("m.mlpackage", Pipeline())  # type: ignore[arg-type]
    with pytest.raises(PassError, match=said):
        Pipeline().plan("m.mlpackage", exact=exact)  # type: ignore[arg-type]


def test_claim_of_no_change_is_checked() -> None:
    def rename(program: Program) -> None:
        next(program.ops("relu")).output.rename("other")

    with pytest.raises(PassError, match="claims to have changed nothing"):
        run(program(), Misbehave(rename, claims=0))


def test_foreign_exception_names_the_pass_and_those_before() -> None:
    with pytest.raises(PassError, match=r"pass misbehave \(after drop-one-relu\) failed: ZeroDivisionError") as caught:
        run(program(), Pipeline(DropOneRelu(), Misbehave(lambda program: 1 / 0)))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_invalid_program_is_blamed_on_the_pass_that_left_it() -> None:
    def reverse(program: Program) -> None:
        body = program.main.body
        assert body.first
        assert body.last
        body.last.move_before(body.first)

    with pytest.raises(PassError, match="pass misbehave left an invalid program"):
        run(program(), Pipeline(DropOneRelu(), Misbehave(reverse)))


def test_invalid_program_handed_in_is_refused_before_any_pass() -> None:
    bad = program()
    assert bad.main.body.first
    assert bad.main.body.last
    bad.main.body.last.move_before(bad.main.body.first)
    said: list[str] = []
    with pytest.raises(InvalidProgramError):
        run(bad, Log(said))
    assert not said


def test_instruments_see_every_pass_from_both_sides() -> None:
    seen: list[str] = []

    class Watch(Instrument):
        def before(self, each: Pass, program: Program, context: Context) -> None:
            seen.append(f"before {each.name}")

        def after(self, each: Pass, program: Program, context: Context, changes: int) -> None:
            seen.append(f"after {each.name}: {changes}")

        def failed(self, each: Pass, program: Program, context: Context, error: MLPassesError) -> None:
            seen.append(f"failed {each.name}")

    with pytest.raises(PassError):
        run(program(), Pipeline(DropOneRelu(), Misbehave(lambda program: 1 / 0)), instruments=[Watch()])
    assert seen == ["before drop-one-relu", "after drop-one-relu: 1", "before misbehave", "failed misbehave"]


@frozen
class Both(Composite):
    """Two passes that are one thing."""

    def drive(self, step: Step, context: Context) -> int:
        return sum(step(each) for each in self.parts())

    def parts(self) -> tuple[Pass, ...]:
        return (DropOneRelu(), DropOneRelu())


def test_a_composite_of_another_class_is_one_pass_to_an_edit() -> None:
    pipeline = Pipeline(Both(), DropOneRelu())
    assert pipeline.replace("drop-one-relu", Repeat(Both())) == Pipeline(Both(), Repeat(Both()))
    assert pipeline.without("both") == Pipeline(DropOneRelu())
