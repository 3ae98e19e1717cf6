"""The operands of an op as the functions that infer its result types see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from ir.const import Const
from ir.core import Operand, constant_of
from ir.diagnostics import MLPassesError
from ir.opsets.schema import OpSpec, Param, PerSpatialDim
from ir.types import STRING, DType, ListType, Shape, StateType, TensorType, Type

_NONE: Final[Mapping[str, Const]] = {}


class InferError(MLPassesError):
    """The operands of an op do not fit together, so that it has no result type."""


@frozen
class Args:
    """The operands and attributes of an op to be, and the row that says what its parameters mean.

    Each question answers with a fact or raises `InferError`; `None` stands for an optional parameter without a default that is absent,
    or for a value that is known only at run time.
    """

    spec: OpSpec
    operands: Mapping[str, tuple[Operand, ...]]
    attributes: Mapping[str, Const] = _NONE

    def error(self, message: str) -> InferError:
        return InferError(f"{self.spec.op_type}: {message}")

    def has(self, name: str) -> bool:
        """Whether the parameter is given."""
        return bool(self.operands.get(name)) or (name in self.spec.attributes and name in self.attributes)

    def given(self, name: str) -> tuple[Operand, ...]:
        """What the parameter holds; empty where it is absent.

        Raises:
            InferError: it is absent and required.
        """
        held = self.operands.get(name, ())
        if not held and name in self.spec.attributes and name in self.attributes:
            held = (self.attributes[name],)
        if not held and not self._param(name).optional:
            raise self.error(f"the required parameter {name!r} is missing")
        return held

    def _param(self, name: str) -> Param:
        param = self.spec.param(name)
        if param is None:
            raise self.error(f"it has no parameter {name!r}")
        return param

    def _single(self, name: str) -> Operand | None:
        held = self.given(name)
        if len(held) > 1:
            raise self.error(f"{name!r} takes one operand, not {len(held)}")
        return held[0] if held else None

    def any_type(self, name: str) -> Type:
        """The type of the one operand of a required parameter."""
        operand = self._single(name)
        if operand is None:
            raise self.error(f"{name!r} is needed here")
        return operand.type

    def type(self, name: str) -> TensorType:
        """The tensor type of the one operand of a parameter that is present."""
        return self._tensor(name, self.any_type(name))

    def _tensor(self, name: str, found: Type) -> TensorType:
        if not isinstance(found, TensorType):
            raise self.error(f"{name!r} has to be a tensor, not {found!r}")
        return found

    def types(self, name: str) -> tuple[TensorType, ...]:
        """The tensor types of all operands of a variadic parameter."""
        return tuple(self._tensor(name, operand.type) for operand in self.given(name))

    def list_type(self, name: str) -> ListType:
        found = self.any_type(name)
        if not isinstance(found, ListType):
            raise self.error(f"{name!r} has to be a list, not {found!r}")
        return found

    def state_type(self, name: str) -> StateType:
        found = self.any_type(name)
        if not isinstance(found, StateType):
            raise self.error(f"{name!r} has to be a state, not {found!r}")
        return found

    def dtype(self, name: str) -> DType:
        return self.type(name).dtype

    def shape(self, name: str) -> Shape:
        """The shape of a tensor whose rank is known.

        Raises:
            InferError: it is not.
        """
        found = self.type(name)
        if not has_rank(found):
            raise self.error(f"the rank of {name!r} has to be known, and it is {found!r}")
        return found.shape

    def value(self, name: str) -> Any:
        """The value of a parameter: a Python scalar, or a NumPy array of rank 1 and more; the default where it is absent.

        None where it is known at run time only, or absent without a default.
        """
        operand = self._single(name)
        if operand is None:
            default = self._param(name).default
            if isinstance(default, PerSpatialDim):
                return default.at(len(self.shape("x")))
            return default
        return self._value_of(name, operand)

    def _value_of(self, name: str, operand: Operand) -> Any:
        const = constant_of(operand)
        if const is None:
            return None
        if not isinstance(const.type, TensorType):
            raise self.error(f"{name!r} has to be a tensor, not {const.type!r}")
        array = const.numpy()
        return array.item() if array.ndim == 0 else array

    def values(self, name: str) -> tuple[Any, ...]:
        """The values of a variadic parameter, each as `value` gives it."""
        return tuple(self._value_of(name, operand) for operand in self.given(name))

    def integer(self, name: str) -> int:
        """An integer that has to be known.

        Raises:
            InferError: it is not known, or no integer.
        """
        found = self.maybe_integer(name)
        if found is None:
            raise self.error(f"{name!r} has to be known at compile time")
        return found

    def maybe_integer(self, name: str) -> int | None:
        """An integer; None where it is not known."""
        found = self.value(name)
        if found is None:
            return None
        numbers = self._as_integers(name, found)
        if len(numbers) != 1:
            raise self.error(f"{name!r} has to be one integer, not {len(numbers)}")
        return numbers[0]

    def integers(self, name: str) -> tuple[int, ...] | None:
        """A vector of integers; None where it is not known, or absent without a default."""
        found = self.value(name)
        return None if found is None else self._as_integers(name, found)

    def _as_integers(self, name: str, found: Any) -> tuple[int, ...]:
        if isinstance(found, bool | int):
            return (int(found),)
        if isinstance(found, tuple):
            return tuple(int(n) for n in found)
        dtype = getattr(found, "dtype", None)
        if dtype is None or dtype.kind not in "iub" or found.ndim != 1:
            raise self.error(f"{name!r} has to be a vector of integers")
        return tuple(int(n) for n in found)

    def truth(self, name: str) -> bool:
        """A truth value that has to be known.

        Raises:
            InferError: it is not known, or no truth value.
        """
        found = self.value(name)
        if hasattr(found, "size") and found.size == 1:
            found = found.item()
        if not isinstance(found, bool):
            raise self.error(f"{name!r} has to be a truth value that is known at compile time")
        return found

    def text(self, name: str) -> str:
        """A string that has to be known.

        Raises:
            InferError: it is not known, or no string.
        """
        found = self.value(name)
        if hasattr(found, "size") and found.size == 1:
            found = found.item()
        if not isinstance(found, str):
            raise self.error(f"{name!r} has to be a {STRING} that is known at compile time")
        return found


def has_rank(found: TensorType) -> bool:
    """Whether the number of dimensions is known: no rank of -1, and no variadic dimension."""
    return found.rank == len(found.shape) and not any(getattr(d, "variadic", False) for d in found.shape)
