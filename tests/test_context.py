"""What a pass is given: a rewriter, the opset, analyses that know when they are stale."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from attrs import frozen

from ir.core import Block, Function, Op, Program
from ir.opset import IOS17, IOS18
from ir.text import print_program
from mlpasses.context import Context
from mlpasses.manager import run
from mlpasses.passes import FunctionPass, Pass
from mlpasses.pipeline import Pipeline, Repeat
from mlpasses.rewrite.rewriter import RewriteError
from tests.cleanup.check import fragment

SQUARES = """inputs %x: fp16[4]
             %a: fp16[4] = mul(x=%x, y=%x)
             %y: fp16[4] = mul(x=%a, y=%a)
             return %y"""

NESTED = """inputs %p: bool, %x: fp16[4]
            %y: fp16[4] = cond(pred=%p) block {
              %a: fp16[4] = exp(x=%x)
              return %a
            } block {
              %b: fp16[4] = relu(x=%x)
              return %b
            }
            return %y"""


@frozen
class UseSquare(FunctionPass):
    """mul(x, x) → square(x)"""

    def run(self, fn: Function, cx: Context) -> int:
        found = [op for op in fn.ops("mul") if op["x"] is op["y"]]
        for op in found:
            rw = cx.rewriter.at(op)
            rw.replace(op, rw.op("square", x=op["x"]))
        return len(found)


@frozen
class Replace(FunctionPass):
    """Notes whether what it computes is what will be saved."""

    replaces_weights: ClassVar[bool] = True
    label: str

    def run(self, fn: Function, cx: Context) -> int:
        cx.note(self.label, str(cx.lasting))
        return 0


@pytest.mark.parametrize(
    ("pipeline", "expected"),
    [
        (Replace("a"), {"a": "True"}),
        (Pipeline(Replace("a"), Replace("b")), {"a": "False", "b": "True"}),
        (Pipeline(Replace("a"), UseSquare()), {"a": "True"}),
        (Pipeline(Replace("a"), Repeat(Pipeline(Replace("b"), Replace("c"), UseSquare())), Pipeline()),
         {"a": "False", "b": "False", "c": "True"}),
        (Pipeline(), {}),
    ],
)  # fmt: skip
def test_a_pass_knows_whether_a_later_one_replaces_its_weights(pipeline: Pass, expected: dict[str, str]) -> None:
    assert {note.where: note.reason for note in run(fragment(SQUARES), pipeline).report.notes} == expected


def test_rewriter_keeps_visible_names_and_tells_what_it_made() -> None:
    result = run(fragment(SQUARES), UseSquare())
    assert print_program(result.program) == print_program(
        fragment("""inputs %x: fp16[4]
                    %a: fp16[4] = square(x=%x)
                    %y: fp16[4] = square(x=%a)
                    return %y""")
    )
    assert {op.origin.pass_name for op in result.program.ops("square")} == {"use-square"}


def test_rewriter_checks_types_before_it_changes_anything() -> None:
    program = fragment(SQUARES)
    op, cx, version = next(program.ops("mul")), Context(), program.version
    rw = cx.rewriter.at(op)
    with pytest.raises(RewriteError, match=r"%a is fp16\[4\], and what would replace it is fp32\[4\]"):
        rw.replace(op, rw.op("cast", x=op["x"], dtype="fp32"))
    assert program.version == version


def test_each_pass_has_a_rewriter_of_its_own() -> None:
    cx = Context()
    first = cx.rewriter
    assert cx.rewriter is first
    cx.begin("another")
    assert cx.rewriter is not first


def test_opset_is_that_of_the_specialization() -> None:
    program, cx = fragment(NESTED, IOS18), Context()
    function = program.main
    function.add_block(IOS17.key, function.body.clone({value: value for value in function.inputs}))
    older = function.specializations[IOS17.key]
    inner = next(iter(older.nesting_ops())).blocks[0]
    assert (cx.opset(function), cx.opset(function.body), cx.opset(older), cx.opset(inner)) == (IOS18, IOS18, IOS17, IOS17)
    assert cx.opset(next(iter(inner))) == IOS17
    assert cx.opset(Block()) is None


calls: list[object] = []


def count(of: Block | Function | Program) -> int:
    calls.append(of)
    return sum(1 for _ in of.ops())


def twice(of: Block) -> int:
    calls.append(of)
    return 2


def test_analysis_is_made_once_while_nothing_changes() -> None:
    cx, body = Context(), fragment(SQUARES).main.body
    calls.clear()
    assert [cx.analysis(count, body), cx.analysis(count, body)] == [2, 2]
    assert calls == [body]


def test_analyses_are_told_apart_by_what_is_computed_and_of_what() -> None:
    cx, program = Context(), fragment(SQUARES)
    calls.clear()
    assert (cx.analysis(count, program.main.body), cx.analysis(count, program.main), cx.analysis(count, program)) == (2, 2, 2)
    cx.analysis(twice, program.main.body)
    assert len(calls) == 4


def mutations() -> dict[str, tuple[str, object]]:
    def insert(body: Block) -> None:
        body.append(Op("exp", {"x": body.outputs[0]}, [("new", body.outputs[0].type)]))

    def rewire(body: Block) -> None:
        op = next(body.ops("mul"))
        op.set("y", op["x"])

    def rename(body: Block) -> None:
        next(body.ops("mul")).output.rename("other")

    def nested(body: Block) -> None:
        next(body.ops("cond")).blocks[0].first.output.rename("other")  # type: ignore[union-attr]

    def returned(body: Block) -> None:
        body.set_outputs(body.outputs)

    return {
        "insert": (SQUARES, insert), "set": (SQUARES, rewire), "rename": (SQUARES, rename), "nested": (NESTED, nested),
        "outputs": (SQUARES, returned),
    }  # fmt: skip


@pytest.mark.parametrize("kind", mutations())
@pytest.mark.parametrize("of", ["block", "function", "program"])
def test_mutation_makes_an_analysis_stale(kind: str, of: str) -> None:
    text, mutate = mutations()[kind]
    cx, program = Context(), fragment(text)
    subject: Any = {"block": program.main.body, "function": program.main, "program": program}[of]
    calls.clear()
    cx.analysis(count, subject)
    assert callable(mutate)
    mutate(program.main.body)
    cx.analysis(count, subject)
    assert calls == [subject, subject]


def test_change_of_one_function_leaves_the_analyses_of_another() -> None:
    cx, program = Context(), fragment(SQUARES)
    program.add_function(program.main.clone("other"))
    calls.clear()
    other = program.functions["other"]
    cx.analysis(count, other)
    program.functions["main"].outputs[0].rename("z")
    cx.analysis(count, other)
    assert calls == [other]


def test_sources_that_can_be_gone_over_once_are_told_of_every_op() -> None:
    fn, cx = fragment(SQUARES).main, Context(pass_name="some-pass")
    one, other = fn.ops("mul")
    cx.made(one, other, sources=(op for op in (one, other)))
    assert [op.origin.sources for op in (one, other) if op.origin is not None] == [(one.name, other.name)] * 2
