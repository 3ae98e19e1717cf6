"""Patterns: what a rule looks for, as data in the ops' own syntax. They print as their source.

    p.add(x=p.linear(x="x", weight="w", bias=const("b")), y=const("c"))

Read from the root up: an `add` whose `x` is the result of a `linear`, and whose `y` is known at compile time. What stands for an operand:

- `"x"` is any operand, captured; the same name twice has to be the same value, or an equal literal. `"_"` is any operand, not captured;
- `any_value("x", rank=4, dtype=FP16)` restricts its type;
- `const("b")` is a literal or the output of a `const` op, `const(0.5)` one of that value, as is a plain `axis=-1` or `perm=[0, 2, 1]`;
- `p.relu(x="x")` is the only result of that op, `p.split(...).out(1)` one of several, `p.any_of("relu", "relu6")(x="x")` of either op;
- `p.one_of(a, b)` is what `a` or else `b` matches;
- `optional("b")` may be absent; `None` has to be; `["a", "b"]` are the operands of a variadic parameter, `many("xs")` all of them.

Two rules keep a rewrite from dropping what an op says:

- A parameter that the pattern does not mention has to be absent, or spell out its default: `p.linear(x="x", weight="w")` is no linear with
  a bias. `p.conv(..., x="x")` leaves the others free; `rw.op("conv", like=op, …)` copies them.
- A parameter that is absent stands for its default in the op tables; where it has none, only `optional` and `None` match.

Every op but the root is erased with it, so its results may be used inside the match only: not by other ops, not by a block's outputs.
`.shared()` lifts that, for an op that is going to stay. Ops that use a state or hold blocks are matched only where they stay or are the
root: making them anew elsewhere could reorder effects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from types import EllipsisType
from typing import Any, Final

import numpy as np
from attrs import frozen

from ir.const import Const
from ir.opset import OPSETS
from ir.specs import first_opset, op_types, spec_of
from ir.types import DTYPE_BY_NAME, DType
from mlpasses.rewrite.patterns import (
    Absent,
    AnyValue,
    ConstPattern,
    Many,
    OneOf,
    OpPattern,
    OptionalPattern,
    Pattern,
    PatternError,
    Plain,
    identifier,
    param_source,
)


def any_value(
    name: str | None = None,
    *,
    dtype: DType | str | Sequence[DType | str] = (),
    rank: int | None = None,
    shape: Sequence[int | None] | None = None,
) -> AnyValue:
    """Any operand whose tensor type is of one of these element types, of this rank, of this shape (None for any number).

    An unknown dimension or rank matches no number.

    Raises:
        PatternError: the name is none, or there is no such element type.
    """
    return AnyValue(_capture(name), _dtypes(dtype), rank, None if shape is None else tuple(shape))


def const(
    captured: Any = None,
    *,
    equals: Any = None,
    filled: Any = None,
    rtol: float = 0.0,
    scalar: bool = False,
    dtype: DType | str | Sequence[DType | str] = (),
    rank: int | None = None,
    shape: Sequence[int | None] | None = None,
) -> ConstPattern:
    """A literal operand, or the output of a `const` op: what is known at compile time and not compressed.

    `const("b")` captures it, `const(0.5)` is short for `const(equals=0.5)`. `equals` is a number, which a literal of one element equals,
    whatever its rank; or a sequence, which has to have its shape; or a string or truth value. Numbers are compared by value, after they
    were rounded to the literal's element type (so 0.1 equals an fp16 0.1, and 2 a float 2.0); with `rtol` |found - wanted| ≤ rtol·|wanted|
    suffices. `filled` wants every element, of any shape, to be that. `scalar` wants one element.

    Raises:
        PatternError: the name is none, or what it shall equal is no literal.
    """
    name = captured if isinstance(captured, str) else None
    if captured is not None and name is None:
        if equals is not None:
            raise PatternError(f"const({captured!r}, equals={equals!r}) names two values: a captured one needs a name, which is a string")
        equals = captured
    return ConstPattern(
        _capture(name),
        None if equals is None else _plain(equals),
        None if filled is None else _plain_scalar(filled),
        rtol,
        scalar,
        _dtypes(dtype),
        rank,
        None if shape is None else tuple(shape),
    )


def optional(pattern: Any) -> OptionalPattern:
    """A parameter that may be absent: its captures are then the default of the op tables or, where there is none, None."""
    inner = _pattern("optional", pattern)
    if isinstance(inner, tuple):
        raise PatternError("optional takes one pattern, not a list")
    return OptionalPattern(inner)


def many(name: str) -> Many:
    """All operands of a variadic parameter, captured as a tuple."""
    return Many(identifier(name, "a capture"))


class Ops:
    """Makes patterns of ops: `p.linear(x="x", weight="w")`."""

    def __getattr__(self, op_type: str) -> Callable[..., OpPattern]:
        if op_type.startswith("__"):
            raise AttributeError(op_type)
        if op_type == "const":
            raise PatternError('a const op is matched by what it holds: write const("name") instead of p.const')
        if first_opset(op_type) is None:
            raise PatternError(f'{_no_op(op_type)}; an op that has no row is p.op("{op_type}", …)')
        return _Maker((op_type,))

    def op(self, op_type: str, /, *rest: EllipsisType, **params: Any) -> OpPattern:
        """An op whose type is not known to the op tables, or no identifier."""
        return _Maker((op_type,))(*rest, **params)

    def any_of(self, *op_types: str) -> Callable[..., OpPattern]:
        """An op of one of these types.

        Raises:
            PatternError: one of them is no op.
        """
        if not op_types:
            raise PatternError("p.any_of takes the op types that may stand there")
        for op_type in op_types:
            if first_opset(op_type) is None:
                raise PatternError(_no_op(op_type))
        return _Maker(tuple(dict.fromkeys(op_types)))

    def one_of(self, *patterns: Any) -> OneOf:
        """What the first of these patterns that matches does. Captures of the others are None."""
        alternatives: list[Pattern] = []
        for given in patterns:
            pattern = _pattern("p.one_of", given)
            if isinstance(pattern, tuple | OptionalPattern | Absent | Many):
                raise PatternError(f"p.one_of takes patterns of one operand, not {param_source(pattern)}")
            alternatives.append(pattern)
        if len(alternatives) < 2:
            raise PatternError("p.one_of takes two alternatives or more")
        return OneOf(tuple(alternatives))


p: Final = Ops()


@frozen
class _Maker:
    op_types: tuple[str, ...]

    def __call__(self, *rest: EllipsisType, **params: Any) -> OpPattern:
        if rest not in ((), (...,)):
            raise PatternError(f"{self.op_types[0]} takes its operands by name, and at most one ... for those that are free")
        for name in params:
            for op_type in self.op_types:
                _check_parameter(op_type, name)
        return OpPattern(self.op_types, tuple((name, _pattern(name, given)) for name, given in params.items()), bool(rest))


def _pattern(parameter: str, given: Any) -> Pattern | tuple[Pattern, ...]:
    if isinstance(given, Pattern):
        return given
    if isinstance(given, str):
        return AnyValue(_capture(given))
    if given is None:
        return Absent()
    if isinstance(given, list | tuple) and any(each is None or isinstance(each, Pattern | str) for each in given):
        return tuple(_operand_pattern(parameter, each) for each in given)
    return ConstPattern(equals=_plain(given))


def _operand_pattern(parameter: str, given: Any) -> Pattern:
    pattern = _pattern(parameter, given)
    if isinstance(pattern, tuple | Many | OptionalPattern | Absent):
        raise PatternError(f"each item of the list for {parameter} has to match one operand, and {param_source(pattern)} does not")
    return pattern


def _capture(name: str | None) -> str | None:
    return None if name is None or name == "_" else identifier(name, "a capture")


def _plain(value: Any) -> Plain:
    """A value as Python data that can be compared and printed."""
    if isinstance(value, Const):
        value = value.numpy()
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        items = tuple(_plain(each) for each in value)
        try:
            np.asarray(items)
        except ValueError as error:
            raise PatternError(f"{value!r} is no literal: its parts differ in length") from error
        return items
    if isinstance(value, bool | int | float | str) and value == value:
        return value
    raise PatternError(f"no literal equals {value!r}: a pattern takes numbers, truth values, strings, and lists of them")


def _plain_scalar(value: Any) -> Plain:
    plain = _plain(value)
    if isinstance(plain, tuple):
        raise PatternError(f"filled takes one value, not {value!r}")
    return plain


def _dtypes(given: DType | str | Sequence[DType | str]) -> tuple[DType, ...]:
    found: list[DType] = []
    for each in (given,) if isinstance(given, DType | str) else given:
        dtype = DTYPE_BY_NAME.get(each) if isinstance(each, str) else each
        if dtype is None:
            raise PatternError(f"there is no element type {each!r}; there are {', '.join(DTYPE_BY_NAME)}")
        found.append(dtype)
    return tuple(found)


def _no_op(op_type: str) -> str:
    known = op_types(OPSETS[-1])
    near = get_close_matches(op_type, known, 1)
    return f"there is no op {op_type!r}" + (f": did you mean {near[0]!r}?" if near else "")


def _check_parameter(op_type: str, name: str) -> None:
    rows = [row for row in (spec_of(op_type, opset) for opset in OPSETS) if row is not None]
    if rows and all(row.param(name) is None for row in rows):
        known = dict.fromkeys(param.name for row in rows for param in row.params)
        near = get_close_matches(name, list(known), 1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
        raise PatternError(f"{op_type} has no parameter {name!r}: {hint}")
