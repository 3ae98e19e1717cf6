"""`clip` and `reshape`, whose definitions changed for odd operands only."""

from __future__ import annotations

import numpy as np

from ir.const import Const
from ir.core import Op
from ir.tensors import ArrayTensor
from ir.types import TensorType
from mlpasses.raising.function import InexpressibleError, Raising, numbers, parameter, required, tensor_type


def order_bounds(raising: Raising, op: Op) -> Op:
    """clip(x, alpha, beta), alpha ≥ beta → minimum(maximum(x, alpha), beta)

    From iOS17 on `clip` demands alpha < beta. The right side is how coremltools evaluates the older one.
    """
    alpha, beta = parameter(op, "alpha"), parameter(op, "beta")
    if alpha is None or beta is None:
        raise InexpressibleError("its alpha or beta is not known at compile time, and alpha has to be less than beta")
    if bool(np.all(numbers(alpha, "alpha") < numbers(beta, "beta"))):
        return op
    raised = raising.emit(op, "maximum", f"{op.output.name}_maximum", x=required(op, "x"), y=required(op, "alpha"))
    bounded = raising.succeed(op, op.output, "minimum", x=raised, y=required(op, "beta"))
    op.erase()
    return raising.changes(bounded)


def state_zeros(raising: Raising, op: Op) -> Op:
    """reshape(x: [2, 3, 4], shape=[0, -1]): [2, 12] → reshape(x, shape=[2, -1])

    A 0 in `shape` stands for the dimension of `x` at the same place: counted from the left, in a shape as long as that of `x`, up to
    iOS16; from the right, whatever the lengths, from iOS17 on. The two agree where the lengths do. Where they do not, the 0 was outside
    of the definition, and the declared type of the result says what it was.
    """
    literal = parameter(op, "shape")
    if literal is None or numbers(literal, "shape").all():
        return op
    shape, x = numbers(literal, "shape"), tensor_type(required(op, "x"), "x")
    if x.rank == shape.size:
        return op
    result = op.output.type
    declared = result.shape if isinstance(result, TensorType) and result.rank == len(result.shape) == shape.size else ()
    zeros = np.flatnonzero(shape == 0)
    if not declared or not all(isinstance(declared[i], int) for i in zeros):
        raise InexpressibleError(
            f"its shape {shape.tolist()} has a 0 and another length than x, of type {x!r}: a 0 is matched from the right from iOS17 on. "
            "Write the dimension instead of the 0"
        )
    stated = np.array([d if s == 0 else s for d, s in zip(declared, shape, strict=True)], shape.dtype)
    const = Const.of(ArrayTensor(stated, literal.tensor.dtype))
    inline = isinstance(op["shape"], Const)
    raising.replace_operand(op, "shape", const if inline else raising.const(op, const, f"{op.output.name}_shape"))
    return raising.changes(op)
