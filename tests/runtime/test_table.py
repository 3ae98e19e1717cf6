"""The table of evaluators: held together with the op tables, and errors that name what is wrong."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from ir.const import Const
from ir.core import Block, Op
from ir.diagnostics import EvaluationError
from ir.opset import IOS15, IOS16, IOS17, IOS18, OPSETS, Opset
from ir.specs import op_types, spec_of
from ir.types import FP32, INT32, UNKNOWN, TensorType
from mlpasses.runtime.table import SHAPE_ONLY, evaluate_op, evaluated_types, evaluator_of
from tests.runtime.calls import call, evaluated

ROWS = [(op_type, opset) for opset in OPSETS for op_type in op_types(opset) if evaluator_of(op_type, opset)]


def x(*values: float) -> Any:
    return np.array(values, np.float32)


@pytest.mark.parametrize("op_type", sorted(evaluated_types()))
def test_an_evaluator_has_the_parameters_of_its_op(op_type: str) -> None:
    spec = spec_of(op_type, OPSETS[-1])
    assert spec is not None
    evaluator = evaluator_of(op_type, OPSETS[-1])
    assert evaluator is not None
    assert set(evaluator.parameters) == {param.name for param in spec.params}
    for param in spec.params:
        assert evaluator.parameters[param.name].required == (not param.optional), param.name
        assert evaluator.parameters[param.name].variadic == param.variadic, param.name


@pytest.mark.parametrize("op_type", sorted(evaluated_types()))
def test_an_evaluator_has_the_defaults_of_its_op(op_type: str) -> None:
    spec, evaluator = spec_of(op_type, OPSETS[-1]), evaluator_of(op_type, OPSETS[-1])
    assert spec is not None
    assert evaluator is not None
    signature = inspect.signature(evaluator.function)
    for param in spec.params:
        default = signature.parameters[param.name].default
        if param.optional and (op_type, param.name) not in {("one_hot", "on_value"), ("one_hot", "off_value")}:  # of the other's type
            assert default == param.default, param.name


@pytest.mark.parametrize("opset", OPSETS)
def test_no_evaluator_asks_for_a_parameter_that_its_op_lacks_in_an_older_opset(opset: Opset) -> None:
    for op_type in op_types(opset):
        evaluator, spec = evaluator_of(op_type, opset), spec_of(op_type, opset)
        assert spec is not None
        if evaluator is not None:
            needed = {name for name, parameter in evaluator.parameters.items() if parameter.required}
            assert needed == {param.name for param in spec.params if not param.optional}


def test_ops_of_which_nothing_is_known_have_none() -> None:
    assert evaluator_of("mystery", IOS18) is None
    assert evaluator_of("conv", IOS18) is None


def test_what_reads_a_shape_only_has_an_evaluator_with_that_parameter() -> None:
    for op_type, parameters in SHAPE_ONLY.items():
        evaluator = evaluator_of(op_type, IOS18)
        assert evaluator is not None
        assert parameters <= set(evaluator.parameters)


def error_of(op: Op, **operands: Any) -> str:
    with pytest.raises(EvaluationError) as caught:
        evaluate_op(op, {name: held if isinstance(held, tuple) else (held,) for name, held in operands.items()}, opset=IOS18)
    return str(caught.value)


PAIR = TensorType(FP32, (2,))


def op_of(op_type: str, result: TensorType = PAIR) -> Op:
    return Op(op_type, {}, [("y", result)])


class TestErrors:
    def test_a_missing_operand_is_named(self) -> None:
        assert error_of(op_of("add"), x=x(1, 2)) == "add y: its parameter y is missing"

    def test_an_unknown_operand_is_named(self) -> None:
        assert error_of(op_of("relu"), x=x(1, 2), z=x(1)) == "relu y: it has no parameter z; it has x"

    def test_several_operands_for_one(self) -> None:
        assert error_of(op_of("relu"), x=(x(1, 2), x(1))) == "relu y: x takes one operand, not 2"

    def test_an_empty_variadic_parameter_is_missing(self) -> None:
        assert error_of(op_of("concat"), values=(), axis=np.int32(0)) == "concat y: its parameter values is missing"

    def test_an_op_without_an_evaluator(self) -> None:
        assert error_of(op_of("conv")) == "conv y: there is no evaluator for conv"

    def test_a_result_of_another_shape_than_declared(self) -> None:
        assert error_of(op_of("relu"), x=x(1, 2, 3)) == "relu y: y is float32[3], and is declared as fp32[2]"

    def test_a_result_of_another_type_than_declared(self) -> None:
        assert error_of(op_of("relu", TensorType(INT32, (1,))), x=x(1)) == "relu y: y is float32[1], and is declared as int32[1]"

    def test_more_results_than_outputs(self) -> None:
        assert error_of(op_of("topk"), x=x(1, 2)) == "topk y: it yields 2 results, and has 1 outputs"

    def test_operands_that_numpy_refuses(self) -> None:
        assert error_of(op_of("add"), x=x(1, 2), y=x(1, 2, 3)).startswith("add y: its operands do not fit together: operands could not be")

    def test_an_operand_of_another_kind_is_named(self) -> None:
        assert error_of(op_of("softmax"), x=x(1, 2), axis=x(0.5)) == "softmax y: axis: it has to be an integer, and is float32[1]"

    def test_strings_are_not_computed_with(self) -> None:
        message = "logical_not y: x: it is of strings, and no evaluator computes with them"
        assert error_of(op_of("logical_not"), x=np.array(["add"], object)) == message

    def test_a_detached_op_without_an_opset(self) -> None:
        with pytest.raises(EvaluationError, match="it is not known which opset it is written for"):
            evaluate_op(op_of("relu"), {"x": (x(1, 2),)})


def test_an_open_dimension_may_be_any() -> None:
    op = op_of("relu", TensorType(FP32, (UNKNOWN,)))
    (found,) = evaluate_op(op, {"x": (x(-1, 2),)}, opset=IOS15)
    assert found.tolist() == [0, 2]


def test_the_opset_is_that_of_the_block() -> None:
    op = call("gather", IOS16, x=x(1, 2), indices=[-1])
    assert isinstance(op.block, Block)
    operands = {"x": (x(1, 2),), "indices": (np.array([-1], np.int32),)}
    assert evaluate_op(op, operands)[0].tolist() == [2]
    with pytest.raises(EvaluationError, match="from iOS17 on indices do not count from the back"):
        evaluate_op(op, operands, opset=IOS17)


def test_a_constexpr_op_has_its_own_operands() -> None:
    op = Op(
        "constexpr_blockwise_shift_scale",
        {"data": Const.of(np.array([1, 2], np.int8)), "scale": Const.of(np.array([0.5], np.float16))},
        [("w", TensorType(FP32, (2,)).with_dtype(Const.of(np.float16(0)).tensor.dtype))],
    )
    assert evaluate_op(op, {})[0].tolist() == [0.5, 1.0]


def test_results_may_be_views() -> None:
    given = np.arange(6, dtype=np.float32).reshape(2, 3)
    (found,) = evaluated_on("transpose", given, perm=np.array([1, 0], np.int32))
    assert np.shares_memory(found, given)


def evaluated_on(op_type: str, given: Any, **operands: Any) -> Any:
    evaluator = evaluator_of(op_type, IOS18)
    assert evaluator is not None
    return evaluator({"x": (given,), **{name: (value,) for name, value in operands.items()}})


def test_an_evaluated_op_warns_of_nothing(recwarn: pytest.WarningsRecorder) -> None:
    (found,) = evaluated("real_div", IOS18, x=x(1, 0), y=x(0, 0))
    assert np.isinf(found[0])
    assert np.isnan(found[1])
    assert not recwarn
