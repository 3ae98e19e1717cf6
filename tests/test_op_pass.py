"""Passes over ops: rules choose, plans show, every skip has its reason."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from attrs import evolve, field, frozen

from ir.builder import FunctionBuilder, build_program
from ir.core import Op, Program, constant_of
from ir.opset import IOS16, IOS18
from ir.text import parse_fragment
from ir.types import FP16, TensorType
from mlpasses import registry
from mlpasses.checks import check_pipeline
from mlpasses.context import Context
from mlpasses.errors import ConfigError, PassError
from mlpasses.manager import run
from mlpasses.op_pass import OpPass
from mlpasses.pipeline import Pipeline
from mlpasses.recipe import parse_pipeline
from mlpasses.rules import Rule, Rules, Skip
from mlpasses.schema import recipe_schema
from mlpasses.select import name, op_type

Mode = Literal["EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"]


@frozen
class Approximate:
    """How a gelu is computed."""

    mode: Mode = "TANH_APPROXIMATION"
    """The formula."""


@frozen
class SetGeluMode(OpPass):
    """gelu(x, mode) → gelu(x, mode=…), for the ops that its rules choose."""

    configs: ClassVar[tuple[type, ...]] = (Approximate,)
    op_types: ClassVar[tuple[str, ...] | None] = ("gelu",)

    def rewrite(self, op: Op, config: Approximate, cx: Context) -> int | str:
        mode = constant_of(op["mode"])
        if mode is None:
            return "its mode is computed"
        if mode.item() == config.mode:
            return 0
        rw = cx.rewriter
        rw.replace(op, rw.op("gelu", like=op, mode=config.mode))
        return 1


@frozen
class Answers(OpPass):
    """Does to relus what the test says."""

    configs: ClassVar[tuple[type, ...]] = (Approximate,)
    op_types: ClassVar[tuple[str, ...] | None] = ("relu",)
    what: str = "erase"

    def rewrite(self, op: Op, config: Approximate, cx: Context) -> Any:
        if self.what == "makes and declines":
            cx.rewriter.op("exp", x=op["x"])
            return "it thought better of it"
        if self.what == "changes and declines":
            cx.rewriter.replace(op, op["x"])
            return "no"
        if self.what == "changes and denies":
            cx.rewriter.replace(op, op["x"])
            return 0
        if self.what == "says nothing":
            return None
        user = op.output.users[0] if op.output.users else None
        if user is not None and user.op_type == "relu":
            cx.rewriter.replace(user, op.output)
            return 1
        return 0


@frozen
class ScaleByMaximum(OpPass):
    """Looks at the numbers of the weight of a linear."""

    configs: ClassVar[tuple[type, ...]] = (Approximate,)
    op_types: ClassVar[tuple[str, ...] | None] = ("linear",)
    early: bool = True

    def rewrite(self, op: Op, config: Approximate, cx: Context) -> int | str:
        if not self.early:
            op.set_attribute("name", op.attributes["name"])
        weight = constant_of(op["weight"])
        assert weight is not None
        return "it is tame" if weight.numpy().max() < 100 else 1


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "BUILT_IN", {**registry.BUILT_IN, "set-gelu-mode": f"{__name__}:SetGeluMode"})


def program() -> Program:
    """Three gelus, a, b and c, one behind the other."""
    with FunctionBuilder("main", {"x": TensorType(FP16, (4,))}, IOS16) as f:
        value = f.inputs["x"]
        for each in "abc":
            value = f.op("gelu", x=value, mode="EXACT", name=each).output
        f.outputs(value)
    return build_program(f)


def modes(of: Program) -> dict[str, str]:
    return {op.output.name: constant.item() for op in of.ops("gelu") if (constant := constant_of(op["mode"])) is not None}


def linear() -> Program:
    with FunctionBuilder("main", {"x": TensorType(FP16, (1, 64))}, IOS18) as f:
        f.outputs(y=f.op("linear", x=f.inputs["x"], weight=np.ones((64, 64), np.float16), name="l"))
    return build_program(f)


RULES = Rules((name("b"), Skip("it is dear")), (name("c"), Approximate("SIGMOID_APPROXIMATION")), default=Approximate())


def test_each_op_gets_what_the_first_matching_rule_says() -> None:
    assert modes(run(program(), SetGeluMode(RULES)).program) == {
        "a": "TANH_APPROXIMATION", "b": "EXACT", "c": "SIGMOID_APPROXIMATION",
    }  # fmt: skip


def test_without_rules_all_get_the_defaults_of_the_first_config() -> None:
    assert set(modes(run(program(), SetGeluMode()).program).values()) == {"TANH_APPROXIMATION"}


def test_rows_say_the_config_and_the_rule() -> None:
    rows = run(program(), SetGeluMode(RULES)).report.ops
    assert [(row.name, row.config, row.rule, row.changes) for row in rows] == [
        ("a", "Approximate()", "rules[2] everything", 1),
        ("c", 'Approximate(mode="SIGMOID_APPROXIMATION")', 'rules[1] name("c")', 1),
    ]


def test_op_that_is_skipped_has_a_note_with_the_reason() -> None:
    notes = run(program(), SetGeluMode(RULES)).report.notes
    assert [(note.pass_name, note.where, note.reason) for note in notes] == [("set-gelu-mode", "gelu b in main", "it is dear")]


def test_op_that_no_rule_matches_is_not_spoken_of() -> None:
    result = run(program(), SetGeluMode(Rules((name("a"), Approximate()), default=None)))
    assert [row.name for row in result.report.ops] == ["a"]
    assert not result.report.notes


def test_reason_of_the_pass_is_a_note() -> None:
    notes = run(linear(), ScaleByMaximum()).report.notes
    assert [(note.where, note.reason) for note in notes] == [("linear l in main", "it is tame")]


def test_second_run_changes_nothing() -> None:
    once = run(program(), SetGeluMode(RULES)).program
    again = run(once, SetGeluMode(RULES)).report
    assert (again.passes[0].changes, again.ops) == (0, [])


def test_names_of_results_stay_and_origins_are_told() -> None:
    op = next(run(program(), SetGeluMode()).program.ops("gelu"))
    assert (op.output.name, op.name) == ("a", "a")
    assert (op.origin.pass_name, op.origin.sources) == ("set-gelu-mode", ("a",))


def test_plan_is_what_the_run_does() -> None:
    planned = SetGeluMode(RULES).plan(program())
    ran = run(program(), SetGeluMode(RULES)).report
    assert (planned.ops, planned.notes) == (ran.ops, ran.notes)
    assert planned.as_dict()["ops"] == ran.as_dict()["ops"] == SetGeluMode(RULES).plan(program(), exact=True).as_dict()["ops"]


def test_planning_changes_nothing() -> None:
    original = program()
    SetGeluMode().plan(original)
    assert set(modes(original).values()) == {"EXACT"}


def test_later_pass_is_planned_on_what_an_earlier_one_would_leave() -> None:
    plan = Pipeline(SetGeluMode(), SetGeluMode(Rules(Approximate("EXACT")))).plan(program())
    assert [row.config for row in plan.ops] == ["Approximate()"] * 3 + ['Approximate(mode="EXACT")'] * 3


def test_plan_says_of_an_op_that_it_depends_on_numbers() -> None:
    rows = ScaleByMaximum().plan(linear()).ops
    assert [(row.name, row.changes) for row in rows] == [("l", None)]
    assert "it depends on the numbers of weights" in rows[0].why


def test_rewrite_that_reads_numbers_after_a_change_cannot_be_planned() -> None:
    plan = ScaleByMaximum(early=False).plan(linear())
    assert (plan.ops, [note.pass_name for note in plan.unplanned]) == ([], ["scale-by-maximum"])


def test_rule_that_matches_nothing_is_a_finding_with_the_nearest_name() -> None:
    rules = Rules((name("bb"), None), default=Approximate())
    finding = SetGeluMode(rules).plan(program()).findings[0]
    assert 'no op matches name("bb")' in finding
    with pytest.raises(ConfigError, match='no op matches name\\("bb"\\)'):
        run(program(), SetGeluMode(rules))


def test_misspelt_op_type_is_searched_for_among_all_ops_of_the_pass() -> None:
    finding = SetGeluMode(Rules((op_type("gelo"), Approximate()))).plan(program()).findings[0]
    assert "3 ops searched; did you mean \"gelu\"?" in finding


def test_shadowed_rule_is_a_finding() -> None:
    rules = Rules((op_type("gelu"), Approximate()), (name("a"), None))
    assert "decides nothing" in SetGeluMode(rules).plan(program()).findings[0]


def test_optional_rule_may_match_nothing() -> None:
    assert not SetGeluMode(Rules(Rule(name("z"), None, optional=True), default=Approximate())).plan(program()).findings


def test_rules_are_checked_without_a_program() -> None:
    assert "stands twice" in check_pipeline(SetGeluMode(Rules((name("a"), None), (name("a"), None))))[0]


def test_config_of_another_class_is_refused_when_the_pass_is_made() -> None:
    with pytest.raises(ConfigError, match="Approximate or None was expected"):
        SetGeluMode(Rules(3))


def test_ops_of_other_types_are_no_subjects() -> None:
    @frozen
    class Seen(SetGeluMode):
        def rewrite(self, op: Op, config: Approximate, cx: Context) -> int | str:
            assert op.op_type == "gelu"
            return 0

    run(program(), Seen())


def test_op_that_an_earlier_rewrite_took_away_is_not_visited() -> None:
    chain = parse_fragment("""inputs %x: fp16[4]
                              %a: fp16[4] = relu(x=%x)
                              %b: fp16[4] = relu(x=%a)
                              %y: fp16[4] = exp(x=%b)""")
    result = run(chain, Answers())
    assert [row.name for row in result.report.ops] == ["a"]
    assert [op.op_type for op in result.program.ops()] == ["relu", "exp"]


ONE = """inputs %x: fp16[4]
         %a: fp16[4] = relu(x=%x)
         %y: fp16[4] = exp(x=%a)"""


def test_what_a_rewrite_made_and_did_not_use_is_forgotten() -> None:
    result = run(parse_fragment(ONE), Answers(what="makes and declines"))
    assert result.report.passes[0].changes == 0
    assert len(result.program.main.inputs[0].uses) == 1


@pytest.mark.parametrize("what", ["changes and declines", "changes and denies"])
def test_rewrite_that_changed_something_has_to_say_so(what: str) -> None:
    with pytest.raises(PassError, match="relu a, and changed the program"):
        run(parse_fragment(ONE), Answers(what=what))


def test_rewrite_has_to_answer() -> None:
    with pytest.raises(PassError, match="answers with a number of changes or with a reason, not with None, for relu a"):
        run(parse_fragment(ONE), Answers(what="says nothing"))


def test_specializations_and_nested_blocks_are_told_apart() -> None:
    nested = parse_fragment("""
        inputs %c: bool, %x: fp16[4]
        %y: fp16[4] = cond(pred=%c) block {
          %a: fp16[4] = gelu(x=%x, mode="EXACT")
          return %a
        } block {
          %b: fp16[4] = gelu(x=%x, mode="EXACT")
          return %b
        }""")
    assert [(row.name, row.where) for row in SetGeluMode().plan(nested).ops] == [("a", "main/y[0]"), ("b", "main/y[1]")]


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("set-gelu-mode", SetGeluMode()),
        ("set-gelu-mode: EXACT", SetGeluMode(Approximate("EXACT"))),
        (
            'set-gelu-mode: {rules: [{name: b, skip: "it is dear"}, {name: c, approximate: SIGMOID_APPROXIMATION}], '
            "default: {approximate: {}}}",
            SetGeluMode(RULES),
        ),
    ],
)
def test_recipes_state_it_as_they_do_passes_over_weights(text: str, made: SetGeluMode) -> None:
    assert parse_pipeline(text) == Pipeline(made)
    assert parse_pipeline(str(Pipeline(made))) == Pipeline(made)


def test_schema_has_its_rules() -> None:
    options = recipe_schema()[0]["$defs"]["passes"]["set-gelu-mode"]["anyOf"][2]["properties"]
    assert "approximate" in options["rules"]["items"]["properties"]


def test_command_line_sets_its_config(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    from mlpasses.cli.main import main

    model = program().save(tmp_path / "m.mlpackage")
    assert main(["plan", str(model), "-p", "set-gelu-mode", "--set", "set-gelu-mode.mode=SIGMOID_APPROXIMATION", "--json"]) == 0
    ops = json.loads(capsys.readouterr().out)["ops"]
    assert [op["config"] for op in ops] == ['Approximate(mode="SIGMOID_APPROXIMATION")'] * 3


def test_tables_of_plan_and_report_list_the_ops() -> None:
    plan, report = SetGeluMode(RULES).plan(program()), run(program(), SetGeluMode(RULES)).report
    assert str(plan) == str(report)
    assert str(plan).splitlines()[0].split() == ["op", "type", "pass", "config", "changes", "rule"]
    assert str(plan).splitlines()[-1] == "note: set-gelu-mode: gelu b in main: it is dear"


def test_pass_whose_config_has_no_defaults_leaves_everything_alone_without_rules() -> None:
    @frozen
    class Needed:
        value: int

    @frozen
    class Needs(SetGeluMode):
        configs: ClassVar[tuple[type, ...]] = (Needed,)
        keep: bool = field(default=True)

    assert Needs().rules == Rules(None)
    assert evolve(Needs(), keep=False).rules == Rules(None)
