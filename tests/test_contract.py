"""What passes declare: the opset that they need, and what they leave as it was. They are held to it."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Final

import numpy as np
import pytest
from attrs import frozen

from ir.builder import FunctionBuilder, build_program
from ir.core import Function, Program
from ir.opset import IOS16, IOS17, IOS18, Opset, opset_of_key
from ir.types import FP16, FP32, TensorType
from mlpasses import registry
from mlpasses.cleanup.cleanup import Cleanup
from mlpasses.compress.quantize import QuantizeWeights
from mlpasses.context import Context
from mlpasses.contract import EVERYTHING, Preserved, broken, signatures
from mlpasses.errors import ConfigError, PassError
from mlpasses.manager import run
from mlpasses.passes import FunctionPass, Pass
from mlpasses.pipeline import Composite, Pipeline, Repeat
from mlpasses.raising import RaiseOpset
from mlpasses.registry import BUILT_IN, pass_class
from tests.cleanup.check import check_meaning, fragment

INTERFACE: Final = Preserved.INTERFACE


@frozen
class RenameOutput(FunctionPass):
    """Gives the first output another name."""

    preserves: ClassVar[frozenset[Preserved]] = frozenset()
    to: str = "renamed"

    def run(self, fn: Function, cx: Context) -> int:
        if fn.outputs[0].name == self.to:
            return 0
        fn.outputs[0].rename(self.to)
        return 1


@frozen
class RenameAnyway(RenameOutput):
    """Says that it would not."""

    preserves: ClassVar[frozenset[Preserved]] = frozenset({INTERFACE})


@frozen
class Retype(FunctionPass):
    """Gives the first input another type."""

    def run(self, fn: Function, cx: Context) -> int:
        fn.inputs[0].type = TensorType(FP32, (4,))
        return 1


@frozen
class ChangeOpset(FunctionPass):
    """Says that a function is for iOS18, and that it would not."""

    preserves: ClassVar[frozenset[Preserved]] = frozenset({Preserved.OPSET})

    def run(self, fn: Function, cx: Context) -> int:
        fn.set_opset(IOS18.key)
        return 1


@frozen
class NeedsNew(FunctionPass):
    """Looks at nothing, from iOS18 on."""

    min_opset: ClassVar[Opset | None] = IOS18

    def run(self, fn: Function, cx: Context) -> int:
        return 0


@frozen
class NeedsNewTogether(Composite):
    """A composite from iOS18 on."""

    min_opset: ClassVar[Opset | None] = IOS18

    def drive(self, step: object, context: Context) -> int:
        raise AssertionError("it has run")

    def parts(self) -> tuple[Pass, ...]:
        return ()


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = {"needs-new": f"{__name__}:NeedsNew", "rename-output": f"{__name__}:RenameOutput"}
    monkeypatch.setattr(registry, "BUILT_IN", {**registry.BUILT_IN, **mine})


def small(opset: Opset = IOS16) -> Program:
    return fragment("inputs %x: fp16[4]\n%y: fp16[4] = relu(x=%x)\nreturn %y", opset)


def untidy() -> Program:
    """Work for every pass that comes with mlpasses, at iOS16: a weight and a compressed one, and much that is no use."""
    rng = np.random.default_rng(0)
    with FunctionBuilder("main", {"x": TensorType(FP16, (1, 64))}, IOS16) as f:
        first = f.op("linear", x=f.inputs["x"], weight=rng.standard_normal((64, 64)).astype(np.float16))
        f.outputs(y=first)
    compressed = run(build_program(f), QuantizeWeights()).program
    data = next(compressed.ops("constexpr_affine_dequantize")).attributes
    with FunctionBuilder("main", {"x": TensorType(FP16, (1, 64))}, IOS16) as f:
        x = f.inputs["x"]
        dense = f.op("linear", x=x, weight=rng.standard_normal((64, 64)).astype(np.float16)).output
        held: dict[str, Any] = {name: data[name] for name in ("quantized_data", "zero_point", "scale", "axis")}
        small_weight = f.op("linear", x=dense, weight=f.op("constexpr_affine_dequantize", **held)).output
        wide = f.op("cast", x=small_weight, dtype="fp32")
        narrow = f.op("cast", x=wide, dtype="fp16")
        there = f.op("transpose", x=narrow, perm=[1, 0])
        back = f.op("transpose", x=there, perm=[1, 0])
        flat = f.op("reshape", x=back, shape=[64])
        again = f.op("reshape", x=flat, shape=[1, 64])
        same = f.op("identity", x=again)
        size = f.op("shape", x=same)
        shaped = f.op("reshape", x=f.op("mul", x=same, y=[2.0]), shape=size)
        twice = f.op("reshape", x=f.op("mul", x=same, y=[2.0]), shape=size)
        f.op("exp", x=twice)
        picked = f.op("gather", x=f.op("add", x=shaped, y=twice), indices=[0, 1, 63], axis=1)
        f.outputs(y=picked)
    program = build_program(f)
    next(program.ops("mul")).output.rename("name with blanks")
    return program


def instance(name: str) -> Pass:
    return RaiseOpset("iOS18") if name == "raise-opset" else pass_class(name)()


OWN: Final = [name for name in BUILT_IN if name not in ("pipeline", "repeat")]


@pytest.mark.parametrize("name", OWN)
def test_built_in_pass_preserves_what_it_says(name: str) -> None:
    each, before = instance(name), untidy()
    if BUILT_IN[name].startswith("mlpasses.compress"):
        before = run(before, RaiseOpset("iOS18")).program  # has every scheme
    after = before.clone()
    each.apply(after, Context())
    kept = each.kept()
    if INTERFACE in kept:
        assert [(one.inputs, [*one.outputs.values()]) for one in signatures(before).values()] == [
            (one.inputs, [*one.outputs.values()]) for one in signatures(after).values()
        ]
    if Preserved.OPSET in kept:
        assert [one.opset for one in signatures(before).values()] == [one.opset for one in signatures(after).values()]
    if Preserved.MEANING in kept:
        check_meaning(before, after)


IDLE: Final = frozenset({"fuse-joint", "sort-topologically"})
"""Those for which `untidy` has no work: joint forms are iOS18's (see tests/compress), and a program that is not in order does not run."""


@pytest.mark.parametrize("name", [name for name in OWN if pass_class(name).preserves == EVERYTHING and name not in IDLE])
def test_what_is_preserved_is_so_where_the_pass_has_work(name: str) -> None:
    assert instance(name).apply(untidy(), Context()) > 0


def test_every_built_in_pass_preserves_the_interface() -> None:
    assert [name for name in OWN if INTERFACE not in pass_class(name).preserves] == []


def test_cleanup_says_what_its_passes_do() -> None:
    assert Cleanup.preserves == Cleanup.kept(Cleanup()) == EVERYTHING


def test_pipeline_preserves_what_all_of_its_passes_do() -> None:
    both = Pipeline(Cleanup(), Repeat(RaiseOpset("iOS18")))
    assert both.kept() == {INTERFACE, Preserved.MEANING}
    assert Pipeline(Cleanup(), RenameOutput()).kept() == frozenset()


def test_pass_that_changes_the_interface_in_spite_of_itself_is_an_error() -> None:
    with pytest.raises(PassError, match=r"preserves interface .*output %y: fp16\[4\] of function main is %renamed: fp16\[4\] now"):
        run(small(), RenameAnyway())


def test_type_of_an_input_is_part_of_the_interface() -> None:
    with pytest.raises(PassError, match=r"retype says that it preserves interface .*input %x: fp16\[4\] of function main is %x: fp32\[4\]"):
        run(fragment("inputs %x: fp16[4], %z: fp16[4]\n%y: fp16[4] = relu(x=%z)\nreturn %y"), Retype())


def test_pass_that_says_so_may_change_the_interface() -> None:
    assert run(small(), RenameOutput()).program.main.outputs[0].name == "renamed"


def test_names_that_no_file_can_hold_may_change() -> None:
    program = small()
    program.main.outputs[0].rename("no identifier")
    after = program.clone()
    after.main.outputs[0].rename("identifier")
    assert broken(signatures(program), signatures(after), EVERYTHING) == []


def test_function_that_goes_or_comes_changes_the_interface() -> None:
    one, two = small(), small()
    two.add_function(two.main.clone("other"))
    assert broken(signatures(one), signatures(two), EVERYTHING) == ["function other is new"]
    assert broken(signatures(two), signatures(one), EVERYTHING) == ["function other is gone"]


def test_opset_is_held_as_well() -> None:
    with pytest.raises(PassError, match=r"change-opset says that it preserves opset .*was written for iOS16, and is for iOS18"):
        run(small(), ChangeOpset())


REFUSAL: Final = (
    "function main is written for iOS16, and needs-new needs iOS18: "
    'put RaiseOpset("iOS18") before needs-new ("raise-opset: iOS18" in a recipe)'
)


def test_run_refuses_functions_older_than_a_pass_needs() -> None:
    with pytest.raises(ConfigError) as refused:
        run(small(), NeedsNew())
    assert str(refused.value) == REFUSAL


def test_plan_has_it_among_its_findings() -> None:
    assert Pipeline(NeedsNew(), Repeat(NeedsNew())).plan(small()).findings == [REFUSAL]


def test_raising_before_is_enough() -> None:
    pipeline = Pipeline(RaiseOpset("iOS18"), NeedsNew())
    assert not pipeline.plan(small()).findings
    run(small(), pipeline)


def test_later_opset_is_no_reason_to_refuse() -> None:
    run(small(Opset(11, "CoreML10", "iOS27") if opset_of_key("CoreML10") else IOS18), NeedsNew())


def test_inactive_specialization_counts_too() -> None:
    program = small(IOS18)
    program.main.add_block(IOS17.key, program.main.body.clone({value: value for value in program.main.inputs}))
    with pytest.raises(ConfigError, match="function main has a specialization for iOS17, and needs-new needs iOS18"):
        run(program, NeedsNew())


def test_composite_is_refused_before_its_passes_run() -> None:
    with pytest.raises(ConfigError, match="needs-new-together needs iOS18"):
        run(small(), NeedsNewTogether())
    assert NeedsNewTogether().plan(small()).findings


def test_findings_of_rules_do_not_hide_what_raising_brings() -> None:
    from mlpasses.config import Quantize
    from mlpasses.rules import Rules
    from mlpasses.select import name

    unmatched = QuantizeWeights(Rules((name("nothing"), None), Quantize()))
    findings = Pipeline(unmatched, RaiseOpset("iOS18"), NeedsNew()).plan(untidy()).findings
    assert len(findings) == 1
    assert 'name("nothing")' in findings[0]


def test_command_line_says_what_a_pass_declares(capsys: pytest.CaptureFixture[str]) -> None:
    from mlpasses.cli.main import main

    main(["passes", "needs-new"])
    assert "\npreserves: interface\nneeds: iOS18 or later\n" in capsys.readouterr().out
    main(["passes", "rename-output"])
    assert "\npreserves: nothing\n" in capsys.readouterr().out
    main(["passes", "repeat"])
    assert "\npreserves: what its passes do\n" in capsys.readouterr().out
    main(["passes", "cleanup", "--json"])
    data = json.loads(capsys.readouterr().out)
    assert (data["min_opset"], data["preserves"]) == (None, ["interface", "meaning", "opset"])
