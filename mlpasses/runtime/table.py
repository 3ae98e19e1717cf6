"""The table of evaluators by op type, and the evaluation of one op.

    evaluate_op(op, {"x": (x,), "axes": (axes,)})  →  (result,)

An evaluator is a plain function whose parameters are named as the op's. Their annotations say how operands are handed over (an `Array` as
it is, `int`, `Ints` and the like as Python values), their defaults what an absent operand stands for. A family is a file, and a row of
`FAMILIES`; what an opset changed is a row of its own, so that a later family (convolution, images) only adds one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, TypeAlias

import numpy as np
from attrs import frozen

from ir.constexprs import evaluate as evaluate_constexpr
from ir.core import Op, Value
from ir.diagnostics import EvaluationError
from ir.infer import has_rank
from ir.opset import IOS15, IOS17, OPSETS, Opset
from ir.specs import is_constexpr
from ir.types import TensorType, Type
from ir.walk import opset_of
from mlpasses.runtime import activation, elementwise, indexing, layout, normalization, product, reduction, selection, sources
from mlpasses.runtime.arrays import Array, Arrays, show_shape

Function: TypeAlias = Callable[..., "Array | Arrays"]

FAMILIES: Final[tuple[tuple[Opset, Mapping[str, Function]], ...]] = (
    (IOS15, activation.EVALUATORS),
    (IOS15, elementwise.EVALUATORS),
    (IOS15, indexing.EVALUATORS),
    (IOS15, layout.EVALUATORS),
    (IOS15, normalization.EVALUATORS),
    (IOS15, product.EVALUATORS),
    (IOS15, reduction.EVALUATORS),
    (IOS15, selection.EVALUATORS),
    (IOS15, sources.EVALUATORS),
    (IOS17, indexing.FROM_IOS17),
    (IOS17, layout.FROM_IOS17),
)
"""Op type → function, from an opset on; later rows replace earlier ones."""

SHAPE_ONLY: Final[Mapping[str, frozenset[str]]] = {
    "shape": frozenset({"x"}),
    "fill_like": frozenset({"ref_tensor"}),
    "reshape_like": frozenset({"ref_tensors"}),
}
"""Parameters of which an op reads the shape and no element."""


def _integer(array: Array) -> int:
    _check_number(array, "biu", "an integer")
    return int(array.item())


def _truth(array: Array) -> bool:
    _check_number(array, "b", "a truth value")
    return bool(array.item())


def _text(array: Array) -> str:
    found = array.item() if array.size == 1 else None
    if not isinstance(found, str):
        raise EvaluationError("it has to be a string")
    return found


def _check_number(array: Array, kinds: str, what: str) -> None:
    if array.size != 1 or array.dtype.kind not in kinds:
        raise EvaluationError(f"it has to be {what}, and is {array.dtype}{show_shape(array.shape)}")


def _vector(array: Array) -> tuple[int, ...]:
    if array.ndim > 1 or array.dtype.kind not in "iu":
        raise EvaluationError(f"it has to be a vector of integers, and is {array.dtype}{show_shape(array.shape)}")
    return tuple(array.reshape(-1).tolist())


def _truths(array: Array) -> tuple[bool, ...]:
    if array.ndim > 1 or array.dtype.kind != "b":
        raise EvaluationError(f"it has to be a vector of truth values, and is {array.dtype}{show_shape(array.shape)}")
    return tuple(array.reshape(-1).tolist())


def _same(array: Array) -> Array:
    if array.dtype.kind == "O":
        raise EvaluationError("it is of strings, and no evaluator computes with them")
    return array


_CONVERTERS: Final[Mapping[str, Callable[[Array], Any]]] = {
    "Array": _same, "int": _integer, "bool": _truth, "str": _text, "Ints": _vector, "Flags": _truths,
}  # fmt: skip
_VARIADIC: Final[Mapping[str, Callable[[Array], Any]]] = {"begins": _integer, "ends": _integer, "end_masks": _truth}
"""Parameters that are variadic although their function takes a vector."""


@frozen(eq=False)
class Parameter:
    """A parameter of an evaluator: how its operand is handed over."""

    name: str
    convert: Callable[[Array], Any]
    required: bool
    variadic: bool = False


@frozen(eq=False)
class Evaluator:
    """A function of arrays, and how the operands of an op become its arguments."""

    op_type: str
    function: Function
    parameters: Mapping[str, Parameter]

    @staticmethod
    def of(op_type: str, function: Function) -> Evaluator:
        parameters: dict[str, Parameter] = {}
        for name, parameter in inspect.signature(function).parameters.items():
            kind = str(parameter.annotation).partition(" | ")[0]
            variadic = kind == "Arrays" or name in _VARIADIC
            convert = _VARIADIC.get(name, _same) if variadic else _CONVERTERS[kind]
            parameters[name] = Parameter(name, convert, parameter.default is inspect.Parameter.empty, variadic)
        return Evaluator(op_type, function, parameters)

    def __call__(self, operands: Mapping[str, Arrays]) -> Arrays:
        """The results of an op with these operands by parameter.

        Raises:
            EvaluationError: an operand is missing, unknown, or does not fit the others.
        """
        arguments: dict[str, Any] = {}
        parameters = self.parameters
        for name, held in operands.items():
            parameter = parameters.get(name)
            if parameter is None:
                raise EvaluationError(f"it has no parameter {name}; it has {', '.join(parameters)}")
            if len(held) > 1 and not parameter.variadic:
                raise EvaluationError(f"{name} takes one operand, not {len(held)}")
            if held:
                try:
                    arguments[name] = tuple(map(parameter.convert, held)) if parameter.variadic else parameter.convert(held[0])
                except EvaluationError as error:
                    raise EvaluationError(f"{name}: {error}") from None
        missing = [parameter.name for parameter in parameters.values() if parameter.required and parameter.name not in arguments]
        if missing:
            raise EvaluationError(f"its parameter {missing[0]} is missing")
        try:
            with np.errstate(all="ignore"):
                results = self.function(**arguments)
        except EvaluationError:
            raise
        except MemoryError:
            raise EvaluationError("its result does not fit into memory") from None
        except (ValueError, IndexError, TypeError, OverflowError, ArithmeticError) as error:
            raise EvaluationError(f"its operands do not fit together: {error}") from error
        several = results if isinstance(results, tuple) else (results,)
        return tuple([result if isinstance(result, np.ndarray) else np.asarray(result) for result in several])  # NumPy may yield a scalar


@cache
def _table(opset: Opset) -> Mapping[str, Evaluator]:
    functions = {op_type: function for since, family in FAMILIES if since <= opset for op_type, function in family.items()}
    return {op_type: Evaluator.of(op_type, function) for op_type, function in functions.items()}


def evaluator_of(op_type: str, opset: Opset) -> Evaluator | None:
    """The evaluator of an op as it is in an opset; None where there is none. The constexpr ops' is in `ir.constexprs`. O(1)."""
    return _table(opset).get(op_type)


def evaluated_types() -> frozenset[str]:
    """The op types that have an evaluator in some opset."""
    return frozenset(_table(OPSETS[-1]))


def evaluate_op(op: Op, operands: Mapping[str, Arrays], *, opset: Opset | None = None) -> Arrays:
    """The results of an op for operands by parameter. They may share memory with the operands, and are not to be changed.

    `opset` is the one that the op is written for, by default that of the specialization it stands in. The operands of a constexpr op are
    its own, and none need be given.

    Raises:
        EvaluationError: there is no evaluator for the op, its operands do not fit, or a result is not what it declares. It names the op.
    """
    try:
        if is_constexpr(op.op_type):
            return tuple([tensor.numpy() for tensor in evaluate_constexpr(op)])
        found = opset if opset is not None else opset_of(op.block)
        if found is None:
            raise EvaluationError("it is not known which opset it is written for")
        evaluator = evaluator_of(op.op_type, found)
        if evaluator is None:
            raise EvaluationError(f"there is no evaluator for {op.op_type}")
        results = evaluator(operands)
        check_results(op.outputs, results)
    except EvaluationError as error:
        raise EvaluationError(f"{op.op_type} {op.name}: {str(error).removeprefix(f'{op.op_type} {op.name}: ')}") from error.__cause__
    return results


def check_results(outputs: tuple[Value, ...], results: Arrays) -> None:
    """Whether results are what some outputs declare.

    Raises:
        EvaluationError: they are more or fewer, or of another element type or shape.
    """
    if len(results) != len(outputs):
        raise EvaluationError(f"it yields {len(results)} results, and has {len(outputs)} outputs")
    for value, result in zip(outputs, results, strict=True):
        problem = mismatch(value, result)
        if problem is not None:
            raise EvaluationError(problem)


def mismatch(value: Value, result: Array, declared: Type | None = None) -> str | None:
    """How an array is not what a value declares, or what is `declared` for it, as a sentence; None if it is."""
    wanted = value.type if declared is None else declared
    if isinstance(wanted, TensorType) and result.dtype == wanted.dtype.numpy:
        shape = wanted.shape
        if shape == result.shape or not has_rank(wanted):
            return None
        if len(shape) == result.ndim and all(dim == n or not isinstance(dim, int) for dim, n in zip(shape, result.shape, strict=True)):
            return None
    return f"{value.name} is {result.dtype}{show_shape(result.shape)}, and is declared as {wanted!r}"
