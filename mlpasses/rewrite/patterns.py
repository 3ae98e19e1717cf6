"""Patterns as data: the classes that the notation of `mlpasses.rewrite.notation` makes, and what can be asked of a whole pattern."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

from attrs import evolve, field, frozen

from ir.diagnostics import MLPassesError
from ir.specs import first_opset
from ir.types import DType

COMMUTATIVE: Final = frozenset(
    ("add", "equal", "logical_and", "logical_or", "logical_xor", "maximum", "minimum", "mul", "not_equal")
)
"""The ops whose `x` and `y` may be exchanged."""

RESERVED: Final = frozenset({"fail", "matched", "ops", "options", "root", "rule"})
"""What a match calls its own, so that no capture may."""

Plain: TypeAlias = "bool | int | float | str | tuple[Plain, ...]"
"""A value to compare literals with."""


class PatternError(MLPassesError):
    """A pattern or a rule makes no sense: it could never match, or would mean something else than it says."""


class Pattern:
    """Base of all patterns. Immutable; `str` is the source."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


@frozen(repr=False)
class AnyValue(Pattern):
    """Any operand, of such a type."""

    name: str | None = None
    dtypes: tuple[DType, ...] = ()
    rank: int | None = None
    shape: tuple[int | None, ...] | None = None

    def __str__(self) -> str:
        restricted = _type_source(self.dtypes, self.rank, self.shape)
        if not restricted:
            return _quoted(self.name or "_")
        return f"any_value({', '.join([*([_quoted(self.name)] if self.name else []), *restricted])})"


@frozen(repr=False)
class ConstPattern(Pattern):
    """An operand that is known at compile time, of such a value and type. See `const`."""

    name: str | None = None
    equals: Plain | None = None
    filled: Plain | None = None
    rtol: float = 0.0
    scalar: bool = False
    dtypes: tuple[DType, ...] = ()
    rank: int | None = None
    shape: tuple[int | None, ...] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it says nothing but a value, other than a string."""
        return self == ConstPattern(equals=self.equals) and self.equals is not None and not isinstance(self.equals, str)

    def __str__(self) -> str:
        if self.is_plain:
            return _literal(self.equals)
        return self.call

    @property
    def call(self) -> str:
        """The source as a call of `const`."""
        said = [_quoted(self.name)] if self.name is not None else []
        if self.equals is not None:
            said.append(f"equals={_literal(self.equals)}")
        if self.filled is not None:
            said.append(f"filled={_literal(self.filled)}")
        if self.rtol:
            said.append(f"rtol={self.rtol!r}")
        if self.scalar:
            said.append("scalar=True")
        return f"const({', '.join([*said, *_type_source(self.dtypes, self.rank, self.shape)])})"


@frozen(repr=False)
class Absent(Pattern):
    """A parameter that is not there, or spells out its default."""

    def __str__(self) -> str:
        return "None"


@frozen(repr=False)
class OptionalPattern(Pattern):
    """A parameter that may be absent. See `optional`."""

    inner: Pattern

    def __str__(self) -> str:
        return f"optional({self.inner})"


@frozen(repr=False)
class Many(Pattern):
    """All operands of a parameter. See `many`."""

    name: str

    def __str__(self) -> str:
        return f"many({_quoted(self.name)})"


@frozen(repr=False)
class OneOf(Pattern):
    """What one of several patterns matches. See `p.one_of`."""

    alternatives: tuple[Pattern, ...]

    def __str__(self) -> str:
        return f"p.one_of({', '.join(map(str, self.alternatives))})"


Param: TypeAlias = "tuple[str, Pattern | tuple[Pattern, ...]]"


@frozen(repr=False)
class OpPattern(Pattern):
    """The result of an op of one of these types, whose parameters match. See `p`."""

    op_types: tuple[str, ...]
    params: tuple[Param, ...]
    open: bool = False
    """Whether parameters that are not mentioned are free."""
    label: str | None = None
    output: int | None = None
    is_shared: bool = False
    swaps: bool = False
    """Whether `x` and `y` may be exchanged."""
    mentioned: frozenset[str] = field(init=False, eq=False, repr=False)
    orders: tuple[tuple[Param, ...], ...] = field(init=False, eq=False, repr=False)
    """The parameters in the order in which they are matched, ops first; once more with `x` and `y` exchanged where that is to be tried."""

    @mentioned.default
    def _mentioned(self) -> frozenset[str]:
        names = frozenset(name for name, _ in self.params)
        return names | {"x", "y"} if self.swaps and names & {"x", "y"} else names

    @orders.default
    def _orders(self) -> tuple[tuple[Param, ...], ...]:
        ordered = tuple(sorted(self.params, key=lambda param: _rank(param[1])))
        if not self.swaps:
            return (ordered,)
        return ordered, tuple((_EXCHANGED.get(name, name), pattern) for name, pattern in ordered)

    def named(self, label: str) -> OpPattern:
        """Lets the match know the op as `m.ops[label]`. What has the same label twice has to be the same op."""
        return evolve(self, label=identifier(label, "an op's label"))

    def out(self, index: int) -> OpPattern:
        """Output `index` of an op with several."""
        return evolve(self, output=index)

    def shared(self) -> OpPattern:
        """Allows other uses of the op's results: it stays where it is used elsewhere."""
        return evolve(self, is_shared=True)

    def commutes(self) -> OpPattern:
        """Tries `x` and `y` in both orders.

        Raises:
            PatternError: the op does not commute.
        """
        others = [op_type for op_type in self.op_types if op_type not in COMMUTATIVE]
        if others:
            raise PatternError(f"{others[0]} does not commute; the ops that do are {', '.join(sorted(COMMUTATIVE))}")
        return evolve(self, swaps=True)

    def __str__(self) -> str:
        params = [*(["..."] if self.open else []), *(f"{name}={param_source(pattern)}" for name, pattern in self.params)]
        types = [_quoted(op_type) for op_type in self.op_types]
        if len(types) > 1:
            source = f"p.any_of({', '.join(types)})({', '.join(params)})"
        elif _has_attribute(self.op_types[0]):
            source = f"p.{self.op_types[0]}({', '.join(params)})"
        else:
            source = f"p.op({', '.join([*types, *params])})"
        if self.label is not None:
            source += f".named({_quoted(self.label)})"
        if self.output is not None:
            source += f".out({self.output})"
        return source + (".shared()" if self.is_shared else "") + (".commutes()" if self.swaps else "")


def subpatterns(pattern: Pattern) -> Iterator[Pattern]:
    """A pattern and all that it is made of, from the root up."""
    yield pattern
    for inner in _inner(pattern):
        yield from subpatterns(inner)


def rebuilt(pattern: Pattern, change: Callable[[OpPattern], OpPattern]) -> Pattern:
    """The pattern with `change` applied to each of its ops."""
    if isinstance(pattern, OpPattern):
        params: list[Param] = []
        for name, held in pattern.params:
            params.append((name, tuple(rebuilt(each, change) for each in held) if isinstance(held, tuple) else rebuilt(held, change)))
        return change(evolve(pattern, params=tuple(params)))
    if isinstance(pattern, OneOf):
        return OneOf(tuple(rebuilt(each, change) for each in pattern.alternatives))
    if isinstance(pattern, OptionalPattern):
        return OptionalPattern(rebuilt(pattern.inner, change))
    return pattern


def commuting(pattern: Pattern) -> Pattern:
    """The pattern with every commutative op in either order.

    Raises:
        PatternError: none of its ops commutes.
    """
    if not any(isinstance(each, OpPattern) and COMMUTATIVE.issuperset(each.op_types) for each in subpatterns(pattern)):
        raise PatternError(f"nothing in {pattern} commutes")
    return rebuilt(pattern, lambda op: op.commutes() if COMMUTATIVE.issuperset(op.op_types) else op)


def labelled(pattern: Pattern) -> Pattern:
    """The pattern in which each op whose type occurs once has that as its label, unless it has one."""
    ops = [each for each in subpatterns(pattern) if isinstance(each, OpPattern)]
    taken = {op.label for op in ops} | captures(pattern)
    types = [op_type for op in ops for op_type in op.op_types]
    free = {op_type for op_type in types if types.count(op_type) == 1 and op_type not in taken}

    def label(op: OpPattern) -> OpPattern:
        return evolve(op, label=op.op_types[0]) if op.label is None and len(op.op_types) == 1 and op.op_types[0] in free else op

    return rebuilt(pattern, label)


def as_written(pattern: Pattern) -> Pattern:
    """The pattern without the labels that `labelled` gave."""
    return rebuilt(pattern, lambda op: evolve(op, label=None) if op.op_types == (op.label,) else op)


def captures(pattern: Pattern) -> set[str]:
    """The names of what a pattern captures."""
    return {
        each.name for each in subpatterns(pattern) if isinstance(each, AnyValue | ConstPattern | Many) and each.name is not None
    }


def check(pattern: Pattern) -> tuple[OpPattern, ...]:
    """The alternatives that a pattern of a rule has for its root.

    Raises:
        PatternError: the root is no op; or a name stands for an op and for a value, for one value and for many.
    """
    roots = pattern.alternatives if isinstance(pattern, OneOf) else (pattern,)
    for root in roots:
        if not isinstance(root, OpPattern):
            raise PatternError(f"a rule starts at an op, and {root} is none")
        if root.output is not None or root.is_shared:
            raise PatternError(f"{root} is the root, which is replaced with all its results: take .out() and .shared() off")
    labels = {each.label for each in subpatterns(pattern) if isinstance(each, OpPattern) and each.label is not None}
    both = sorted(labels & captures(pattern))
    if both:
        name = both[0]
        raise PatternError(f'{name!r} names an op and a value in {pattern}: repeat the pattern with .named("{name}") to mean its result')
    all_of = {each.name for each in subpatterns(pattern) if isinstance(each, Many)}
    one_of = {each.name for each in subpatterns(pattern) if isinstance(each, AnyValue | ConstPattern)}
    if all_of & one_of:
        raise PatternError(f"{min(all_of & one_of, key=str)!r} names one operand and many in {pattern}")
    return tuple(root for root in roots if isinstance(root, OpPattern))


_EXCHANGED: Final[Mapping[str, str]] = {"x": "y", "y": "x"}


def _inner(pattern: Pattern) -> Iterator[Pattern]:
    if isinstance(pattern, OpPattern):
        for _, held in pattern.params:
            yield from held if isinstance(held, tuple) else (held,)
    elif isinstance(pattern, OneOf):
        yield from pattern.alternatives
    elif isinstance(pattern, OptionalPattern):
        yield pattern.inner


def _rank(held: Pattern | tuple[Pattern, ...]) -> int:
    """What tells most is matched first: ops, then constants, then what may be anything."""
    kinds = [each for pattern in (held if isinstance(held, tuple) else (held,)) for each in subpatterns(pattern)]
    if any(isinstance(each, OpPattern) for each in kinds):
        return 0
    return 1 if any(isinstance(each, ConstPattern | Absent) for each in kinds) else 2


def identifier(name: str, what: str) -> str:
    """The name, where it can be an attribute of a match.

    Raises:
        PatternError: it cannot.
    """
    if not name.isidentifier() or name.startswith("_"):
        raise PatternError(f"{what} has to be an identifier, and {name!r} is none; a string value is const(equals={name!r})")
    if name in RESERVED:
        raise PatternError(f"{what} cannot be called {name!r}: a match has an attribute of that name")
    return name


def _has_attribute(op_type: str) -> bool:
    return op_type.isidentifier() and op_type not in ("op", "any_of", "one_of", "const") and first_opset(op_type) is not None


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _literal(value: Plain | None) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_literal, value))}]"
    return f'float("{value}")' if isinstance(value, float) and math.isinf(value) else repr(value)


def param_source(held: Pattern | tuple[Pattern, ...]) -> str:
    """The source of what a parameter is to match."""
    if isinstance(held, tuple):  # a list of plain numbers would read as one literal
        return f"[{', '.join(each.call if isinstance(each, ConstPattern) else str(each) for each in held)}]"
    return str(held)


def _type_source(dtypes: tuple[DType, ...], rank: int | None, shape: tuple[int | None, ...] | None) -> list[str]:
    said: list[str] = []
    if dtypes:
        names = [dtype.name.upper() for dtype in dtypes]
        said.append(f"dtype={names[0] if len(names) == 1 else f'({chr(44).join(names)})'}".replace(",", ", "))
    if rank is not None:
        said.append(f"rank={rank}")
    if shape is not None:
        said.append(f"shape={list(shape)!r}")
    return said
