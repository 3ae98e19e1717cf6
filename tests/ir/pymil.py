"""Samples built by coremltools, the oracle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ir.opset import Opset
from ir.types import DTYPE_BY_NAME, UNKNOWN, DictionaryType, TensorType, Type
from tests.ir.samples import Sample, X


def nothing(name: str, operand: Any) -> Any:
    return None


def build(sample: Sample, opset: Opset, instead: Callable[[str, Any], Any] = nothing) -> tuple[Any, ...]:
    """The variables that coremltools' builder gives for a sample; `instead` may put another variable in place of an operand.

    Operands of a variadic parameter are called `values_0`, `values_1`, ….
    """
    import coremltools as ct
    from coremltools.converters.mil.mil import Builder, Function, Placeholder, types

    named = {
        f"{name}_{index}" if isinstance(operand, tuple) else name: part
        for name, operand in sample.operands.items()
        for index, part in enumerate(operand if isinstance(operand, tuple) else (operand,))
    }
    inputs = {
        name: Placeholder(part.shape or (1,), dtype=types.string_to_builtin(part.dtype))
        for name, part in named.items()
        if isinstance(part, X)
    }
    function: Any = Function(inputs or {"unused": Placeholder((1,))}, opset_version=getattr(ct.target, opset.target))

    def variable(name: str) -> Any:
        part = named[name]
        other = instead(name, part)
        if other is not None:
            return other
        if not isinstance(part, X):
            return part
        return function.inputs[name] if part.shape else Builder.squeeze(x=function.inputs[name], axes=[0])

    with function:
        made = getattr(Builder, sample.op_type)(
            **{
                name: tuple(variable(f"{name}_{i}") for i in range(len(operand))) if isinstance(operand, tuple) else variable(name)
                for name, operand in sample.operands.items()
            }
        )
    return tuple(made) if isinstance(made, tuple | list) else (made,)


def type_of(variable: Any) -> Type:
    """The type of one of coremltools' variables."""
    return _type(variable.sym_type)


def _type(found: Any) -> Type:
    from coremltools.converters.mil.mil import types
    from coremltools.converters.mil.mil.types.symbolic import is_symbolic

    if types.is_dict(found):
        return DictionaryType(_type(found.T[0]), _type(found.T[1]))
    name = types.builtin_to_string(found.get_primitive() if types.is_tensor(found) else found)
    dtype = DTYPE_BY_NAME[{"str": "string", "double": "fp64"}.get(name, name)]
    shape = found.get_shape() if types.is_tensor(found) else ()
    return TensorType(dtype, (UNKNOWN if is_symbolic(d) else int(d) for d in shape))
