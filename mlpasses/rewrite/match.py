"""Matching: does a pattern fit at an op, and what did it capture? Nothing here changes a program.

A search with backtracking over a list of goals, each a pattern and what it is to match. Choices are the two orders of a commutative op and
the alternatives of `p.one_of`; all of them are tried, and a rule whose check fails on one match is offered the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol, TypeAlias

from ir.const import Const
from ir.core import Block, Op, Operand, Value, constant_of
from ir.opset import OPSETS, Opset
from ir.opsets.schema import Effect, OpSpec
from ir.specs import spec_of
from ir.tensors import Array, Tensor
from ir.types import Type
from ir.walk import opset_of
from mlpasses.rewrite.defaults import is_default, stand_in
from mlpasses.rewrite.patterns import (
    Absent,
    AnyValue,
    ConstPattern,
    Many,
    OneOf,
    OpPattern,
    OptionalPattern,
    Pattern,
    as_written,
    captures,
    subpatterns,
)
from mlpasses.rewrite.values import type_fits, value_fits

Found: TypeAlias = "Operand | tuple[Operand, ...] | None"
"""What a pattern is held against: an operand, all operands of a parameter, or None where it is absent and has no default."""
_Goals: TypeAlias = "tuple[Pattern, Found, Op, str, _Goals] | None"


class Constant:
    """A captured constant: the operand that it is, with its value at hand. Stands for the operand wherever one is wanted."""

    __slots__ = ("const", "operand", "parameter")

    def __init__(self, operand: Operand, const: Const, parameter: str) -> None:
        self.operand = operand
        self.const = const
        self.parameter = parameter

    @property
    def type(self) -> Type:
        return self.const.type

    @property
    def tensor(self) -> Tensor:
        """Its data. Raises `TypeError` where it is a list, tuple or dictionary."""
        return self.const.tensor

    @property
    def name(self) -> str:
        """The name of the value, or the parameter that a literal was given for."""
        return self.operand.name if isinstance(self.operand, Value) else self.parameter

    def numpy(self) -> Array:
        """The elements, read-only."""
        return self.const.numpy()

    def item(self) -> Any:
        """The only element as a Python value."""
        return self.const.item()

    def __repr__(self) -> str:
        return repr(self.operand)


class Failure:
    """Why a rule does not apply. The text is made when someone asks for it."""

    __slots__ = ("args", "template")

    def __init__(self, template: str, args: tuple[object, ...] = ()) -> None:
        self.template = template
        self.args = args

    def __str__(self) -> str:
        try:
            return self.template.format(*self.args)
        except (LookupError, ValueError, AttributeError):  # a reason that is badly worded is still a reason
            return f"{self.template} {self.args}"

    def __repr__(self) -> str:
        return f"Failure({str(self)!r})"


class Match:
    """What a pattern matched: `m.x` is the capture "x", `m.root` the root op, `m.ops["linear"]` an op by its label or unique type.

    A capture is an operand, a `Constant` where the pattern says `const`, a tuple where it says `many`, and None where it is optional and
    absent or stands in another alternative. `options` is the pass that the rule runs in, None outside of one.
    """

    __slots__ = ("_captures", "_info", "_where", "matched", "ops", "options", "root")

    def __init__(self, root: Op, matcher: Matcher, info: Info, options: Any) -> None:
        self.root = root
        self.ops: Mapping[str, Op] = dict(matcher.labels)
        self.matched: tuple[Op, ...] = tuple(matcher.kept)
        """All matched ops, the root first."""
        self.options = options
        self._captures = dict(matcher.bound)
        self._where = dict(matcher.where)
        self._info = info

    def __getattr__(self, name: str) -> Any:
        if name not in self._info.captures:
            raise AttributeError(f"the pattern captures {', '.join(sorted(self._info.captures)) or 'nothing'}, and not {name!r}")
        found = self._captures.get(name)
        if name in self._info.constants and found is not None and not isinstance(found, tuple):
            known = constant_of(found)
            return found if known is None else Constant(found, known, self._where[name])
        return found

    def fail(self, template: str, *args: object) -> Failure:
        """The reason why the rule does not apply, to be returned; `template` is filled in as by `str.format` once someone asks."""
        return Failure(template, args)

    def __repr__(self) -> str:
        return f"<Match at {describe(self.root)}: {', '.join(f'{name}={found!r}' for name, found in self._captures.items())}>"


class Info:
    """What a rule's pattern is made of, worked out once."""

    __slots__ = ("captures", "constants", "nodes")

    def __init__(self, pattern: Pattern) -> None:
        self.captures = frozenset(captures(pattern))
        self.constants = frozenset(
            each.name for each in subpatterns(pattern) if isinstance(each, ConstPattern) and each.name is not None
        )
        self.nodes = sum(1 for _ in subpatterns(pattern))


class Observer(Protocol):
    """Who wants to know where a match broke off."""

    def miss(self, matched: int, ops: tuple[Op, ...], template: str, *args: object) -> None:
        """After `matched` parts of the pattern had matched, among them `ops`, the next one did not."""


class Matcher:
    """Matches patterns, one op at a time. Keeps the opset of each block that it saw."""

    __slots__ = ("_observer", "_opsets", "_root", "_solved", "bound", "kept", "labels", "where")

    def __init__(self, observer: Observer | None = None) -> None:
        self._observer = observer
        self._opsets: dict[Block, Opset] = {}
        self._root: Op | None = None
        self._solved = 0
        self.bound: dict[str, Found] = {}
        self.where: dict[str, str] = {}
        self.labels: dict[str, Op] = {}
        self.kept: dict[Op, bool] = {}
        """The matched ops, and whether each may have other uses."""

    def matches(self, pattern: OpPattern, root: Op, info: Info, options: Any = None) -> Iterator[Match]:
        """Every way in which `pattern` matches with `root` as its root. The program must not change while the iteration goes on."""
        self._root = root
        self._solved = 0
        self.bound.clear()
        self.where.clear()
        self.labels.clear()
        self.kept.clear()
        if root.op_type not in pattern.op_types:
            if self._observer is not None:
                self._miss("{} is no {}", described(root), " or ".join(pattern.op_types))
            return
        for _ in self._at(pattern, root, None):
            yield Match(root, self, info, options)

    def _miss(self, template: str, *args: object) -> None:
        if self._observer is not None:
            self._observer.miss(self._solved, tuple(self.kept), template, *args)

    # the search

    def _solve(self, goals: _Goals) -> Iterator[None]:
        if goals is None:
            if self._may_go():
                yield
            return
        pattern, found, op, parameter, rest = goals
        if isinstance(pattern, OpPattern):
            yield from self._result(pattern, found, op, parameter, rest)
        elif isinstance(pattern, OneOf):
            for alternative in pattern.alternatives:
                yield from self._solve((alternative, found, op, parameter, rest))
        elif isinstance(pattern, OptionalPattern):
            if found is None:
                yield from self._solved_one(rest)
            else:
                yield from self._solve((pattern.inner, found, op, parameter, rest))
        elif isinstance(pattern, AnyValue | ConstPattern | Many) and self._fits(pattern, found, op, parameter):
            yield from self._binding(pattern.name, found, op, parameter, rest)

    def _solved_one(self, rest: _Goals) -> Iterator[None]:
        self._solved += 1
        yield from self._solve(rest)
        self._solved -= 1

    def _binding(self, name: str | None, found: Found, op: Op, parameter: str, rest: _Goals) -> Iterator[None]:
        if name is None:
            yield from self._solved_one(rest)
        elif name in self.bound:
            if _same(self.bound[name], found):
                yield from self._solved_one(rest)
            elif self._observer is not None:
                self._miss('{} of {} is {}, and "{}" is {} already', parameter, described(op), shown(found), name, shown(self.bound[name]))
        else:
            self.bound[name] = found
            self.where[name] = parameter
            yield from self._solved_one(rest)
            del self.bound[name]

    def _result(self, pattern: OpPattern, found: Found, user: Op, parameter: str, rest: _Goals) -> Iterator[None]:
        op = found.op if isinstance(found, Value) else None
        if op is None or op.op_type not in pattern.op_types:
            if self._observer is not None:
                self._miss("{} of {} is {}, and the pattern wants {}", parameter, described(user), shown(found), _Written(pattern))
            return
        assert isinstance(found, Value)
        outputs = op.outputs
        if pattern.output is None and len(outputs) > 1:
            self._miss("{} has several outputs: write .out({}) in the pattern", described(op), found.index)
        elif pattern.output is not None and pattern.output != found.index:
            where = (parameter, described(user), found.index, described(op))
            self._miss("{} of {} is output {} of {}, and the pattern wants {}", *where, _Written(pattern))
        elif self._root is not None and op.block is not self._root.block:
            self._miss("{} stands in another block than the root", described(op))
        elif not pattern.is_shared and (op.blocks or self._effect(op) in (Effect.READS, Effect.WRITES)):
            self._miss("{} uses a state or holds blocks, so it cannot be made anew elsewhere: write .shared(), and keep it", described(op))
        else:
            yield from self._at(pattern, op, rest)

    def _at(self, pattern: OpPattern, op: Op, rest: _Goals) -> Iterator[None]:
        label = pattern.label
        known = self.labels.get(label) if label is not None else None
        if known is not None and known is not op:
            self._miss("{} is not {}, which is {} already", described(op), described(known), label)
            return
        if not self._has_its_outputs(op) or (not pattern.open and not self._says_no_more(pattern, op)):
            return
        if label is not None and known is None:
            self.labels[label] = op
        before = self.kept.get(op)
        self.kept[op] = pattern.is_shared or before is True
        self._solved += 1
        for order in pattern.orders:
            if order is not pattern.orders[0] and _same_operands(op):
                continue
            goals = self._goals(op, order, rest)
            if goals is not _MISMATCH:
                yield from self._solve(goals)  # type: ignore[arg-type]  # a mismatch is excluded
        self._solved -= 1
        if before is None:
            del self.kept[op]
        else:
            self.kept[op] = before
        if label is not None and known is None:
            del self.labels[label]

    def _goals(self, op: Op, order: tuple[tuple[str, Pattern | tuple[Pattern, ...]], ...], rest: _Goals) -> object:
        """The goals for an op's parameters, in their order, before `rest`; or `_MISMATCH`."""
        goals = rest
        for name, pattern in reversed(order):
            held = op.operands.get(name, ())
            if isinstance(pattern, tuple):
                if len(held) != len(pattern):
                    self._miss("{} of {} has {} operands, and the pattern wants {}", name, described(op), len(held), len(pattern))
                    return _MISMATCH
                for part, operand in zip(reversed(pattern), reversed(held), strict=True):
                    goals = (part, operand, op, name, goals)
            elif isinstance(pattern, Many):
                goals = (pattern, held, op, name, goals)
            elif isinstance(pattern, Absent):
                if not self._is_default(op, name, held):
                    self._miss("{} of {} is {}, and the pattern wants none", name, described(op), shown(held[0] if held else None))
                    return _MISMATCH
            elif len(held) > 1:
                self._miss("{} of {} has {} operands: a list matches them, or many(…)", name, described(op), len(held))
                return _MISMATCH
            else:
                found = held[0] if held else stand_in(op, name, self._spec(op))
                goals = (pattern, found, op, name, goals)
        return goals

    # what goes without operands

    def _fits(self, pattern: AnyValue | ConstPattern | Many, found: Found, op: Op, parameter: str) -> bool:
        if isinstance(pattern, Many):
            return True
        if found is None or isinstance(found, tuple):
            self._miss("{} of {} is absent and has no default, and the pattern wants {}", parameter, described(op), pattern)
            return False
        const: Const | None = None
        if isinstance(pattern, ConstPattern):
            const = constant_of(found)
            if const is None:
                self._miss("{} of {} is {}, and the pattern wants a constant", parameter, described(op), shown(found))
                return False
        fits = type_fits(pattern, found.type if const is None else const.type)
        if not fits or (isinstance(pattern, ConstPattern) and const is not None and not value_fits(pattern, const)):
            self._miss("{} of {} is {}, and the pattern wants {}", parameter, described(op), shown(found), pattern)
            return False
        return True

    def _has_its_outputs(self, op: Op) -> bool:
        """Whether an op has as many outputs as the op tables say. One that a file gives more or fewer is nothing to rewrite."""
        spec = self._spec(op)
        if spec is None or spec.outputs is None or spec.outputs == len(op.outputs):
            return True
        self._miss("{} has {} outputs, and {} yields {}", described(op), len(op.outputs), op.op_type, spec.outputs)
        return False

    def _says_no_more(self, pattern: OpPattern, op: Op) -> bool:
        """Whether every parameter that the pattern does not mention is absent or spells out its default."""
        for name, held in op.operands.items():
            if name not in pattern.mentioned and not self._is_default(op, name, held):
                self._miss(
                    "{} has {}={}, which the pattern does not mention: name it, or write ... to leave it free",
                    described(op), name, shown(held[0] if held else None),
                )  # fmt: skip
                return False
        spec = self._spec(op)
        for name in spec.attributes if spec is not None else ():
            if name in op.attributes and name not in pattern.mentioned and not self._is_default(op, name, (op.attributes[name],)):
                self._miss("{} has the attribute {}, which the pattern does not mention", described(op), name)
                return False
        return True

    def _is_default(self, op: Op, name: str, held: tuple[Operand, ...]) -> bool:
        return is_default(op, name, held, self._spec(op))

    def _effect(self, op: Op) -> Effect | None:
        spec = self._spec(op)
        return None if spec is None else spec.effect

    def _spec(self, op: Op) -> OpSpec | None:
        block = op.block
        if block is None:
            return spec_of(op.op_type, OPSETS[-1])
        opset = self._opsets.get(block)
        if opset is None:
            opset = self._opsets[block] = opset_of(block) or OPSETS[-1]
        return spec_of(op.op_type, opset)

    def _may_go(self) -> bool:
        """Whether all matched ops that are not shared are used by the match alone."""
        kept = self.kept
        for op, shared in kept.items():
            if shared or op is self._root:
                continue
            for value in op.outputs:
                for user in users_of(value):
                    if user not in kept:
                        self._miss("{} is used by {} too; write .shared() where the op may stay", described(op), described(user))
                        return False
        return True


_MISMATCH: Final = object()


class described:  # noqa: N801  # reads as the function that it stands for
    """`describe(thing)`, once someone asks: a match that fails costs no text."""

    __slots__ = ("thing",)

    def __init__(self, thing: Op | Block) -> None:
        self.thing = thing

    def __str__(self) -> str:
        return describe(self.thing)


class shown:  # noqa: N801
    """What an operand is, in words, once someone asks."""

    __slots__ = ("found",)

    def __init__(self, found: Found) -> None:
        self.found = found

    def __str__(self) -> str:
        found = self.found
        if found is None:
            return "absent"
        if isinstance(found, tuple):
            return f"({', '.join(str(shown(each)) for each in found)})"
        if isinstance(found, Const):
            return f"the literal {found!r}"
        op = found.op
        return f"the input {found!r}" if op is None else f"{found!r}, computed by {op.op_type}" if op.op_type != "const" else f"{op!r}"


class _Written:
    """A pattern as its author wrote it, once someone asks."""

    __slots__ = ("pattern",)

    def __init__(self, pattern: Pattern) -> None:
        self.pattern = pattern

    def __str__(self) -> str:
        return str(as_written(self.pattern))


def describe(thing: Op | Block) -> str:
    """A short name for texts: `add %y`, or what a block belongs to."""
    if isinstance(thing, Op):
        return f"{thing.op_type} {f'%{thing.outputs[0].name}' if thing.outputs else thing.name}".rstrip()
    parent = thing.parent
    if isinstance(parent, Op):
        return f"the outputs of a block of {describe(parent)}"
    return "the outputs of a block" if parent is None else f"the outputs of {parent.name}"


def users_of(value: Value) -> Iterator[Op | Block]:
    """Who uses a value, once for each use.

    Not `value.uses`, which copies: a mask that a thousand layers use would be copied for each of them, and two users answer the question.
    """
    return (key[0] for key in value._uses)


def _same(a: Found, b: Found) -> bool:
    if a is b:
        return True
    if isinstance(a, tuple) or isinstance(b, tuple):
        return isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b) and all(map(_same, a, b))
    if a is None or b is None or a.type is not b.type:
        return False
    known = constant_of(a)
    return known is not None and known == constant_of(b)


def _same_operands(op: Op) -> bool:
    return op.get("x") is op.get("y")
