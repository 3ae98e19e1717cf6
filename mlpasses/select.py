"""Filters: which ops or weights are meant.

    op_type("conv", "linear") & ~name("*head*")
    (numel >= 65536) & dtype("fp16") | function("decode")

Filters are values: comparable, hashable, combined with `&`, `|` and `~`, and printed as the source that makes them. A comparison needs
parentheses beside these, because Python binds `&` tighter than `>=`.

Of a weight, `op_type`, `param` and the names of consumers are asked for each use by itself: `op_type("gather")` is true of a tied
embedding's use as a table, and not of its use as a matrix. `consumer` is asked of the weight as a whole: `consumer("gather")` is true of
both. What is not known (the rank of a value, an opset of the future) satisfies no comparison.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any, ClassVar, Final, NoReturn

from attrs import field, frozen

from ir.core import Function, Op, Program
from ir.diagnostics import MLPassesError
from ir.opset import Opset, opset_of_target
from ir.types import DTYPE_BY_NAME, DType
from mlpasses.errors import ConfigError
from mlpasses.patterns import REGEX, Pattern, is_glob, source_text
from mlpasses.subjects import Face, Index, Mask, Subject, Table, op_subject, op_subjects

__all__ = [
    "And", "Comparison", "Filter", "Leaf", "Measure", "Not", "Or", "consumer", "dtype", "everything", "function", "matching_ops",
    "name", "nbytes", "nothing", "numel", "op_type", "opset", "param", "rank",
]  # fmt: skip

class Filter:
    """What an op, or a use of a weight, has to be like."""

    __slots__ = ()
    binding: ClassVar[int] = 4
    """How tightly the outermost operator binds when printed: 0 comparison, 1 `|`, 2 `&`, 3 `~`, 4 a call or a word."""

    def matches(self, face: Face) -> bool:
        """Whether one face of a subject is meant."""
        raise NotImplementedError

    def mask(self, table: Table) -> Mask:
        """The same for all faces of a table at once. Each distinct value is looked at once."""
        raise NotImplementedError

    def op_types(self) -> frozenset[str] | None:
        """Op types outside of which no op is meant; None where the filter does not say."""
        return None

    def parts(self) -> tuple[Filter, ...]:
        """The filters that this one combines."""
        return ()

    def leaves(self) -> Iterator[Leaf]:
        """What the filter asks, each question once in each place that it has."""
        for part in self.parts():
            yield from part.leaves()

    def __call__(self, subject: Op | Subject) -> bool:
        """Whether an op is meant, or any use of a weight."""
        asked = subject if isinstance(subject, Subject) else op_subject(subject)
        return any(self.matches(face) for face in asked.faces)

    def __and__(self, other: Filter) -> Filter:
        return And((*_flat(And, self), *_flat(And, _operand(other, "&"))))

    def __or__(self, other: Filter) -> Filter:
        return Or((*_flat(Or, self), *_flat(Or, _operand(other, "|"))))

    def __invert__(self) -> Filter:
        return Not(self)

    def __rand__(self, other: object) -> NoReturn:
        _operand(other, "&")
        raise AssertionError  # a filter's own `&` comes first

    def __ror__(self, other: object) -> NoReturn:
        _operand(other, "|")
        raise AssertionError

    def __bool__(self) -> NoReturn:
        raise ConfigError(f"{self!r} is true of some ops and not of others, so it has no truth of its own: combine filters with &, | and ~")


@frozen(repr=False)
class And(Filter):
    """All of several filters."""

    filters: tuple[Filter, ...]
    binding: ClassVar[int] = 2

    def matches(self, face: Face) -> bool:
        return all(part.matches(face) for part in self.filters)

    def mask(self, table: Table) -> Mask:
        return reduce(operator.and_, (part.mask(table) for part in self.filters))

    def op_types(self) -> frozenset[str] | None:
        bounds = [bound for part in self.filters if (bound := part.op_types()) is not None]
        return frozenset.intersection(*bounds) if bounds else None

    def parts(self) -> tuple[Filter, ...]:
        return self.filters

    def __repr__(self) -> str:
        return " & ".join(_inside(part, self.binding) for part in self.filters)


@frozen(repr=False)
class Or(Filter):
    """Any of several filters."""

    filters: tuple[Filter, ...]
    binding: ClassVar[int] = 1

    def matches(self, face: Face) -> bool:
        return any(part.matches(face) for part in self.filters)

    def mask(self, table: Table) -> Mask:
        return reduce(operator.or_, (part.mask(table) for part in self.filters))

    def op_types(self) -> frozenset[str] | None:
        bounds = [part.op_types() for part in self.filters]
        return frozenset().union(*(bound or () for bound in bounds)) if None not in bounds else None

    def parts(self) -> tuple[Filter, ...]:
        return self.filters

    def __repr__(self) -> str:
        return " | ".join(_inside(part, self.binding) for part in self.filters)


@frozen(repr=False)
class Not(Filter):
    """What another filter does not mean."""

    filter: Filter
    binding: ClassVar[int] = 3

    def matches(self, face: Face) -> bool:
        return not self.filter.matches(face)

    def mask(self, table: Table) -> Mask:
        return ~self.filter.mask(table)

    def parts(self) -> tuple[Filter, ...]:
        return (self.filter,)

    def __invert__(self) -> Filter:
        return self.filter

    def __repr__(self) -> str:
        return f"~{_inside(self.filter, self.binding)}"


class Leaf(Filter):
    """A filter that asks for one aspect of a face, and is satisfied by certain values of it."""

    __slots__ = ()

    @property
    def aspect(self) -> str:
        """What is asked for, as `Face.values` knows it."""
        raise NotImplementedError

    def accepts(self, value: Any) -> bool:
        """Whether a value satisfies the filter."""
        raise NotImplementedError

    def find(self, index: Index) -> Iterable[Sequence[int]]:
        """The positions, in an index of the aspect, of what satisfies the filter."""
        return [places for value, places in index.items() if self.accepts(value)]

    def matches(self, face: Face) -> bool:
        return any(self.accepts(value) for value in face.values(self.aspect))

    def mask(self, table: Table) -> Mask:
        return table.mask(self.find(table.index(self.aspect)))

    def leaves(self) -> Iterator[Leaf]:
        yield self


@frozen(repr=False)
class Constant(Filter):
    """`everything` and `nothing`."""

    value: bool

    def matches(self, face: Face) -> bool:
        return self.value

    def mask(self, table: Table) -> Mask:
        return table.all() if self.value else table.none()

    def op_types(self) -> frozenset[str] | None:
        return None if self.value else frozenset()

    def __invert__(self) -> Filter:
        return nothing if self.value else everything

    def __repr__(self) -> str:
        return "everything" if self.value else "nothing"


def _words(values: tuple[str, ...], leaf: Any) -> None:
    """The check of what a filter was called with: at least one word, and nothing but words."""
    if not values:
        raise ConfigError(f"{leaf.word}() asks for nothing: name at least one, or write everything")
    for value in values:
        if isinstance(value, list | tuple | set | frozenset):
            raise ConfigError(f"{leaf.word} takes each as an argument of its own: {leaf.word}({', '.join(map(source_text, value))})")
        if not isinstance(value, str):
            raise ConfigError(f"{leaf.word} takes text, not {value!r}")
        if not value.removeprefix(REGEX):
            raise ConfigError(f"{leaf.word}({source_text(value)}) can match nothing: nothing has an empty name")


def _arguments(values: tuple[str, ...]) -> str:
    return f"({', '.join(map(source_text, values))})"


@frozen(repr=False)
class Words(Leaf):
    """A filter that accepts certain words: `op_type`, `consumer`, `dtype`."""

    word: ClassVar[str]
    values: tuple[str, ...]

    def __attrs_post_init__(self) -> None:
        _words(self.values, self)
        for value in self.values:
            if any(c in value for c in "*?[") or value.startswith(REGEX):
                raise ConfigError(f"{self.word} takes whole words, and {source_text(value)} is a pattern: patterns are for names")

    @property
    def aspect(self) -> str:
        return self.word

    def accepts(self, value: Any) -> bool:
        return value in self.values

    def find(self, index: Index) -> Iterable[Sequence[int]]:
        return [index[value] for value in self.values if value in index]

    def __repr__(self) -> str:
        return f"{self.word}{_arguments(self.values)}"


@frozen(repr=False)
class OpTypes(Words):
    """`op_type`"""

    word: ClassVar[str] = "op_type"

    def op_types(self) -> frozenset[str] | None:
        return frozenset(self.values)


@frozen(repr=False)
class Consumers(Words):
    """`consumer`"""

    word: ClassVar[str] = "consumer"


_ALIASES: Final = {"float16": "fp16", "half": "fp16", "float32": "fp32", "float": "fp32", "bfloat16": "bf16", "float64": "fp64"}


@frozen(repr=False)
class DTypes(Words):
    """`dtype`"""

    word: ClassVar[str] = "dtype"

    def __attrs_post_init__(self) -> None:
        _words(self.values, self)
        for value in self.values:
            if value not in DTYPE_BY_NAME:
                from mlpasses.registry import suggest  # only errors need it

                alias = _ALIASES.get(value.lower().removeprefix("np."))
                near = f"did you mean {alias!r}?" if alias else suggest(value, DTYPE_BY_NAME)
                raise ConfigError(f"there is no element type {value!r}; {near}")


@frozen(repr=False)
class Named(Leaf):
    """A filter that accepts what a pattern matches: `name`, `function`, `param`."""

    word: str
    patterns: tuple[str, ...]
    exact: frozenset[str] = field(init=False, eq=False)
    compiled: tuple[Pattern, ...] = field(init=False, eq=False)
    """Those that are not exact."""

    @exact.default
    def _exact(self) -> frozenset[str]:
        _words(self.patterns, self)
        return frozenset(text for text in self.patterns if not (text.startswith(REGEX) or is_glob(text)))

    @compiled.default
    def _compiled(self) -> tuple[Pattern, ...]:
        return tuple(Pattern(text) for text in self.patterns if text not in self.exact)

    @property
    def aspect(self) -> str:
        return self.word

    def accepts(self, value: Any) -> bool:
        return value in self.exact or any(pattern.matches(value) for pattern in self.compiled)

    def find(self, index: Index) -> Iterable[Sequence[int]]:
        yield from (index[text] for text in self.exact if text in index)
        for pattern in self.compiled:
            fragment, match = pattern.fragment, pattern.regex.fullmatch
            yield from [places for text, places in index.items() if fragment in text and match(text)]

    def each(self) -> tuple[Named, ...]:
        """A filter for each of the patterns."""
        return (self,) if len(self.patterns) == 1 else tuple(Named(self.word, (text,)) for text in self.patterns)

    def __repr__(self) -> str:
        return f"{self.word}{_arguments(self.patterns)}"


_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


@frozen(repr=False)
class Comparison(Leaf):
    """`numel >= 65536`: a measure beside a bound."""

    measure: str
    symbol: str
    bound: int | Opset
    binding: ClassVar[int] = 0

    @property
    def aspect(self) -> str:
        return self.measure

    def accepts(self, value: Any) -> bool:
        return _COMPARE[self.symbol](value, self.bound)

    def __repr__(self) -> str:
        bound = source_text(self.bound.target) if isinstance(self.bound, Opset) else self.bound
        return f"{self.measure} {self.symbol} {bound}"


@frozen(eq=False, repr=False)
class Measure:
    """Something to compare: `numel >= 65536` is a filter."""

    name: str

    def __lt__(self, bound: object) -> Comparison:
        return self._compare("<", bound)

    def __le__(self, bound: object) -> Comparison:
        return self._compare("<=", bound)

    def __eq__(self, bound: object) -> Comparison:  # type: ignore[override]  # that is what it is for
        return self._compare("==", bound)

    def __ne__(self, bound: object) -> Comparison:  # type: ignore[override]
        return self._compare("!=", bound)

    def __gt__(self, bound: object) -> Comparison:
        return self._compare(">", bound)

    def __ge__(self, bound: object) -> Comparison:
        return self._compare(">=", bound)

    def __hash__(self) -> int:
        return hash(self.name)

    def __bool__(self) -> NoReturn:
        raise ConfigError(f"{self.name} is no filter: compare it with something, as in {self._example}")

    def __repr__(self) -> str:
        return self.name

    @property
    def _example(self) -> str:
        return 'opset >= "iOS18"' if self.name == "opset" else f"{self.name} >= 4"

    def _compare(self, symbol: str, bound: object) -> Comparison:
        return Comparison(self.name, symbol, self._bound(bound))

    def _bound(self, bound: object) -> int | Opset:
        if self.name == "opset":
            if isinstance(bound, Opset):
                return bound
            if not isinstance(bound, str):
                raise ConfigError(f'opset is compared with a target, as in opset >= "iOS18", not with {bound!r}')
            try:
                return opset_of_target(bound)
            except MLPassesError as error:
                raise ConfigError(str(error)) from error
        if isinstance(bound, Filter):
            raise ConfigError(f"{self.name} is compared with the filter {bound!r}: {_PARENTHESES}")
        if isinstance(bound, float) and bound.is_integer():
            return int(bound)  # 1e6
        if isinstance(bound, bool) or not hasattr(bound, "__index__"):
            raise ConfigError(f"{self.name} is compared with a whole number, not with {bound!r}")
        return operator.index(bound)


_PARENTHESES: Final = "put comparisons into parentheses, as in (numel >= 65536) & (rank == 4)"


def op_type(*op_types: str) -> Filter:
    """Ops of these types; uses of weights by ops of these types."""
    return OpTypes(op_types)


def name(*patterns: str) -> Filter:
    """By name: exact, a glob (`layers_*`), or a regular expression that matches in full (`re:layers_[0-3]_.*`).

    An op is called as its `name` attribute and its first output are; a weight as its value, and as what uses it.
    """
    return Named("name", patterns)


def function(*patterns: str) -> Filter:
    """What stands in these functions; patterns as for `name`."""
    return Named("function", patterns)


def param(*patterns: str) -> Filter:
    """Uses of weights for these parameters: `weight`, `weight_hh`; patterns as for `name`. No op is meant."""
    return Named("param", patterns)


def consumer(*op_types: str) -> Filter:
    """Ops, or weights, of which a result is used by an op of these types, for whatever parameter; all uses of such a weight."""
    return Consumers(op_types)


def dtype(*dtypes: str | DType) -> Filter:
    """Weights, or ops whose first result is, of these element types: `fp16`."""
    return DTypes(tuple([each.name if isinstance(each, DType) else each for each in dtypes]))


everything: Final = Constant(True)
"""All that there is."""
nothing: Final = Constant(False)
"""None of it."""
rank: Final = Measure("rank")
"""The number of dimensions of a weight, or of an op's first result."""
numel: Final = Measure("numel")
"""Its number of elements."""
nbytes: Final = Measure("nbytes")
"""The bytes that its elements take in a file."""
opset: Final = Measure("opset")
"""The opset that the specialization around it is written for: `opset >= "iOS18"`."""


def matching_ops(root: Program | Function, keep: Filter) -> Iterator[Op]:
    """The ops that a filter means, in every function, specialization and nested block. Looks only at the op types that it names."""
    bound = keep.op_types()
    for subject in op_subjects(root, None if bound is None else sorted(bound)):
        if keep.matches(subject.faces[0]):
            yield subject.op


def _flat(kind: type[And] | type[Or], part: Filter) -> tuple[Filter, ...]:
    return part.filters if isinstance(part, kind) else (part,)


def _inside(part: Filter, around: int) -> str:
    """How a part is written inside of an operator that binds so tightly."""
    return repr(part) if part.binding > around else f"({part!r})"


def _operand(other: object, symbol: str) -> Filter:
    if isinstance(other, Filter):
        return other
    if isinstance(other, Measure) or (isinstance(other, int) and not isinstance(other, bool)):
        raise ConfigError(f"{symbol} stands beside {other!r}, which is no filter: {_PARENTHESES}")
    if isinstance(other, str):
        raise ConfigError(f"{symbol} stands beside the text {other!r}: write name({source_text(other)}) or op_type({source_text(other)})")
    raise ConfigError(f"{symbol} combines filters, and {other!r} is none")
