"""Execution: programs in the text form, what they yield, and what they are refused for."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from ir.core import Block, Function, Op, Program
from ir.diagnostics import EvaluationError
from ir.mil.load import load_program
from ir.tensors import Array
from ir.text import parse_fragment
from ir.types import BOOL, FP32, TensorType
from mlpasses.compress.decompress import DecompressWeights
from mlpasses.manager import run
from mlpasses.runtime.execute import execute
from mlpasses.runtime.table import evaluate_op
from tests.corpus import NAMES, Corpus
from tests.effort import grows_linearly


def x(*values: float) -> Array:
    return np.array(values, np.float32)


def parsed(text: str) -> Program:
    return parse_fragment(dedent(text), opset="CoreML8")


def executed(text: str, **inputs: Array) -> dict[str, Array]:
    return execute(parsed(text), inputs)


LOOP = """
    inputs %n: int32
    %i: int32, %s: int32 = while_loop(loop_vars=(int32(0), int32(0))) block(%a: int32, %b: int32) {
      %c: bool = less(x=%a, y=%n)
      return %c
    } block(%d: int32, %e: int32) {
      %f: int32 = add(x=%d, y=int32(1))
      %g: int32 = add(x=%e, y=%f)
      return %f, %g
    }
    return %s, %i
    """


class TestYields:
    def test_outputs_by_name(self) -> None:
        found = executed("inputs %x: fp32[2]\n%w: fp32[2] = const([1.0, 2.0])\n%y: fp32[2] = add(x=%x, y=%w)\nreturn %y, %x, %w", x=x(3, 4))
        assert {name: array.tolist() for name, array in found.items()} == {"y": [4, 6], "x": [3, 4], "w": [1, 2]}

    def test_fp16_is_rounded_after_each_op(self) -> None:
        found = executed(
            "inputs %x: fp16[1]\n%a: fp16[1] = add(x=%x, y=fp16[1]([2048.0]))\n%y: fp16[1] = add(x=%a, y=fp16[1]([1.0]))\nreturn %y",
            x=np.array([1], np.float16),
        )
        assert found["y"].tolist() == [2048]

    @pytest.mark.parametrize(("p", "expected"), [(True, 5), (False, -1)])
    def test_the_chosen_block_and_what_it_captures(self, p: bool, expected: float) -> None:
        found = executed(
            """
            inputs %x: fp32[1], %p: bool
            %a: fp32[1] = add(x=%x, y=fp32[1]([1.0]))
            %y: fp32[1] = cond(pred=%p) block {
              %t: fp32[1] = add(x=%a, y=%x)
              return %t
            } block {
              %e: fp32[1] = sub(x=%x, y=%a)
              return %e
            }
            return %y
            """,
            x=x(2),
            p=np.array(p),
        )
        assert found["y"].tolist() == [expected]

    @pytest.mark.parametrize("n", [0, 1, 10])
    def test_a_loop(self, n: int) -> None:
        found = executed(LOOP, n=np.array(n, np.int32))
        assert (found["i"].item(), found["s"].item()) == (n, n * (n + 1) // 2)

    def test_compressed_weights_and_chains_of_them(self) -> None:
        found = executed(
            """
            inputs %x: fp16[4]
            %l: fp16[1, 2, 1] = constexpr_blockwise_shift_scale(data=int8[1, 2, 1]([[[1], [2]]]), scale=fp16[1, 1, 1]([[[0.5]]]))
            %w: fp16[4] = constexpr_lut_to_dense(indices=uint1[4]([0, 1, 1, 0]), lut=%l)
            %y: fp16[4] = mul(x=%x, y=%w)
            return %y
            """,
            x=np.ones(4, np.float16),
        )
        assert found["y"].tolist() == [0.5, 1, 1, 0.5]

    def test_the_active_specialization(self) -> None:
        program = parse_fragment("inputs %x: fp32[1]\n%y: fp32[1] = abs(x=%x)\nreturn %y", opset="CoreML6")
        other = parse_fragment("inputs %x: fp32[1]\n%y: fp32[1] = relu(x=%x)\nreturn %y", opset="CoreML7").main
        program.main.add_block("CoreML7", other.body.clone({other.inputs[0]: program.main.inputs[0]}))
        assert execute(program, {"x": x(-3)})["y"].tolist() == [3]

    def test_a_function_by_itself(self) -> None:
        program = parsed("inputs %x: fp32[1]\n%y: fp32[1] = relu(x=%x)\nreturn %y")
        program.add_function(program.main.clone("other"))
        assert execute(program.functions["other"], {"x": x(2)})["y"].tolist() == [2]

    def test_an_open_dimension_takes_any(self) -> None:
        assert executed("inputs %x: fp32[?]\n%y: fp32[?] = relu(x=%x)\nreturn %y", x=x(-1, 2, 3))["y"].tolist() == [0, 2, 3]


class TestStates:
    TEXT = """
        inputs %x: fp16[2], %s: state<fp16[2]>
        %old: fp16[2] = read_state(input=%s)
        %new: fp16[2] = add(x=%old, y=%x)
        write_state(input=%s, data=%new)
        %y: fp16[2] = read_state(input=%s)
        return %y, %old
        """
    X = np.array([1, 2], np.float16)

    def test_a_state_starts_at_zeros(self) -> None:
        found = executed(self.TEXT, x=self.X)
        assert (found["y"].tolist(), found["old"].tolist()) == ([1, 2], [0, 0])

    def test_a_state_lives_on_in_the_callers_mapping(self) -> None:
        states: dict[str, Array] = {}
        for _ in range(3):
            execute(parsed(self.TEXT), {"x": self.X}, states=states)
        assert states["s"].tolist() == [3, 6]

    def test_a_failed_run_leaves_the_states_as_they_were(self) -> None:
        states = {"s": np.array([5, 5], np.float16)}
        text = self.TEXT.replace("return %y, %old", "%bad: int32[1] = mod(x=int32[1]([1]), y=int32[1]([0]))\n        return %y, %bad")
        with pytest.raises(EvaluationError, match="mod bad: an integer is divided by 0"):
            execute(parsed(text), {"x": self.X}, states=states)
        assert states["s"].tolist() == [5, 5]

    def test_contents_of_another_type_are_refused(self) -> None:
        with pytest.raises(EvaluationError, match=r"state s is float32\[1\], and is declared as fp16\[2\]"):
            execute(parsed(self.TEXT), {"x": self.X}, states={"s": x(1)})


class TestRefusals:
    def test_an_op_that_cannot_be_run_is_named_before_any_is_run(self) -> None:
        with pytest.raises(EvaluationError, match=r"mystery m cannot be run: there is no evaluator for mystery in iOS18"):
            executed("inputs %x: fp32[1]\n%a: int32 = mod(x=int32(1), y=int32(0))\n%m: fp32[1] = mystery(x=%x)\nreturn %m", x=x(1))

    def test_such_an_op_in_a_nested_block_too(self) -> None:
        with pytest.raises(EvaluationError, match="mystery m cannot be run"):
            executed(
                """
                inputs %x: fp32[1], %p: bool
                %y: fp32[1] = cond(pred=%p) block {
                  %m: fp32[1] = mystery(x=%x)
                  return %m
                } block {
                  return %x
                }
                return %y
                """,
                x=x(1),
                p=np.array(False),
            )

    def test_missing_unknown_and_unfit_inputs(self) -> None:
        text = "inputs %x: fp32[1]\n%y: fp32[1] = relu(x=%x)\nreturn %y"
        with pytest.raises(EvaluationError, match=r"there is nothing for input x; function main takes %x: fp32\[1\]"):
            executed(text)
        with pytest.raises(EvaluationError, match="there is no input z"):
            executed(text, x=x(1), z=x(1))
        with pytest.raises(EvaluationError, match=r"input x is float64\[2\], and is declared as fp32\[1\]"):
            executed(text, x=np.zeros(2))

    def test_a_loop_that_does_not_end(self) -> None:
        with pytest.raises(EvaluationError, match="while_loop i: it does not end within 5 iterations"):
            execute(parsed(LOOP), {"n": np.array(10, np.int32)}, max_iterations=5)

    def test_an_error_names_its_op(self) -> None:
        with pytest.raises(EvaluationError, match="floor_div y: an integer is divided by 0"):
            executed("inputs %x: int32[1]\n%y: int32[1] = floor_div(x=int32[1]([1]), y=%x)\nreturn %y", x=np.zeros(1, np.int32))

    def test_a_value_that_is_used_before_it_is_known(self) -> None:
        program = parsed("inputs %x: fp32[1]\n%a: fp32[1] = relu(x=%x)\n%y: fp32[1] = abs(x=%a)\nreturn %y")
        body = program.main.body
        assert body.first is not None
        assert body.last is not None
        body.last.move_before(body.first)
        with pytest.raises(EvaluationError, match="a is used before it is known"):
            execute(program, {"x": x(1)})

    def test_an_opset_that_is_not_known(self) -> None:
        program = parsed("inputs %x: fp32[1]\nreturn %x")
        program.main.set_opset("CoreML99")
        with pytest.raises(EvaluationError, match="written for CoreML99, which is no opset that is known"):
            execute(program, {"x": x(1)})

    def test_a_program_without_a_main(self) -> None:
        with pytest.raises(EvaluationError, match=r"hand over one of program\.functions"):
            execute(Program(), {})


def chain(count: int) -> Program:
    kind = TensorType(FP32, (4,))
    program = Program([Function("main", [("x", kind)], "CoreML8")])
    body = Block()
    program.main.add_block("CoreML8", body)
    value = program.main.inputs[0]
    for index in range(count):
        op = Op("abs", {"x": value}, [(f"v{index}", kind)])
        body.append(op)
        value = op.output
    body.set_outputs([value])
    return program


class TestMemory:
    def test_a_tensor_is_let_go_of_at_its_last_use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """At no op of a long chain are more alive than its operand and what it yields."""
        alive: list[weakref.ref[Array]] = []
        most = 0
        def watched(op: Op, operands: Any, **more: Any) -> Any:
            nonlocal most
            results = evaluate_op(op, operands, **more)
            alive.extend(map(weakref.ref, results))
            most = max(most, sum(ref() is not None for ref in alive))
            return results

        monkeypatch.setattr("mlpasses.runtime.execute.evaluate_op", watched)
        execute(chain(50), {"x": x(1, 2, 3, 4)})
        assert len(alive) == 50
        assert most == 2

    def test_a_captured_value_is_kept_while_a_loop_runs(self) -> None:
        found = executed(
            """
            inputs %n: int32
            %k: int32 = add(x=%n, y=int32(1))
            %i: int32 = while_loop(loop_vars=(int32(0))) block(%a: int32) {
              %c: bool = less(x=%a, y=%k)
              return %c
            } block(%d: int32) {
              %f: int32 = add(x=%d, y=int32(1))
              return %f
            }
            return %i
            """,
            n=np.array(3, np.int32),
        )
        assert found["i"].item() == 4


class TestScale:
    def test_a_long_chain_takes_linear_time(self) -> None:
        def work(count: int) -> Callable[[], object]:
            program = chain(count)
            return lambda: execute(program, {"x": x(1, 2, 3, 4)})

        assert grows_linearly(work)

    def test_blocks_nested_a_thousand_deep_are_no_recursion(self) -> None:
        kind = TensorType(FP32, (1,))
        program = Program([Function("main", [("x", kind), ("p", TensorType(BOOL))], "CoreML8")])
        given, p = program.main.inputs
        body = Block()
        program.main.add_block("CoreML8", body)
        op = Op("exp", {"x": given}, [("c", kind)])
        for level in range(1000):
            inner, other = Block(), Block()
            inner.append(op)
            inner.set_outputs([op.output])
            other.set_outputs([given])
            op = Op("cond", {"pred": p}, [(f"c{level}", kind)], blocks=[inner, other])
        body.append(op)
        body.set_outputs([op.output])
        found = execute(program, {"x": x(0), "p": np.array(True)})
        assert found["c999"].tolist() == [1]


@pytest.mark.skipif("stub_bge_base_fp16" not in NAMES, reason="the corpus is not there")
@pytest.mark.parametrize("name", ["stub_bge_base_fp16", "multifunction_tiny"])
def test_a_real_model_runs(corpus: Corpus, name: str) -> None:
    program = load_program(corpus.path(name))
    function = next(iter(program.functions.values()))
    outputs = execute(function, random_inputs(function))
    assert set(outputs) == {value.name for value in function.outputs}


@pytest.mark.skipif("mobilebert" not in NAMES, reason="the corpus is not there")
def test_mobilebert_runs(corpus: Corpus) -> None:
    """1,903 ops: every one of them has an evaluator."""
    program = load_program(corpus.path("mobilebert"))
    outputs = execute(program, random_inputs(program.main))
    assert set(outputs) == {value.name for value in program.main.outputs}


def test_decompression_keeps_the_meaning() -> None:
    program = parsed(
        """
        inputs %x: fp16[2, 4]
        %w: fp16[2, 4] = constexpr_blockwise_shift_scale(data=int8[2, 4]([[1, 2, 3, 4], [5, 6, 7, 8]]), scale=fp16[2, 1]([[0.5], [0.25]]))
        %y: fp16[2, 2] = linear(x=%x, weight=%w)
        return %y
        """
    )
    inputs = random_inputs(program.main)
    after = run(program, DecompressWeights()).program
    assert np.array_equal(execute(program, inputs)["y"], execute(after, inputs)["y"])


def random_inputs(function: Function) -> dict[str, Array]:
    """Random inputs of the declared types: small integers, floats around 0; open dimensions are 2."""
    rng = np.random.default_rng(11)
    found: dict[str, Array] = {}
    for value in function.inputs:
        kind = value.type
        assert isinstance(kind, TensorType)
        shape = tuple(dim if isinstance(dim, int) else 2 for dim in kind.shape)
        numbers = rng.standard_normal(shape) if kind.dtype.is_float else rng.integers(0, 2, shape)
        found[value.name] = np.asarray(numbers, kind.dtype.numpy)
    return found
