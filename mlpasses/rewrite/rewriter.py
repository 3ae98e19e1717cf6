"""The rewriter: every change that a rewrite makes goes through it, is checked before it is made, and is told to whoever listens.

Ops that it makes are pending until something uses them: `replace` puts those that the replacement needs before the op that it replaces,
and `discard` forgets them. So a rewrite that gives up leaves no trace. What never changes is the interface: a value that a function returns
keeps its name, type and position.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ir.builder import Builder, Names
from ir.const import Const, Python
from ir.core import Block, Function, Op, Operand, Value
from ir.opset import OPSETS, Opset
from ir.opsets.schema import Effect
from ir.specs import spec_of
from ir.tensors import Tensor
from ir.types import DType, Type
from ir.verify.specification import agree
from ir.walk import opset_of, used_values
from mlpasses.context import Context
from mlpasses.errors import PassError
from mlpasses.rewrite.match import Constant, Failure, describe, users_of
from mlpasses.rewrite.rules import Replacement
from mlpasses.rewrite.visibility import is_hidden, is_hidden_from_users, returned_by

NAME: Final = "name"
"""The attribute that names an op."""


class RewriteError(PassError):
    """A rule breaks its contract, or rules do not come to an end."""


class Listener:
    """Who is told of changes. Derive, and override what is of interest."""

    def inserted(self, op: Op) -> None:
        """`op` was put into its block."""

    def changed(self, op: Op) -> None:
        """`op` has other operands or attributes than before, or other names or types."""

    def replaced(self, op: Op, by: tuple[Operand | None, ...]) -> None:
        """The results of `op` are about to be replaced; `changed` follows for each op that uses them, and `erased` for `op`."""

    def erased(self, op: Op) -> None:
        """`op`, whose results nothing uses any more, is about to go; its operands are still there."""


class Rewriter:
    """Makes ops before an anchor, and lets them take the place of others. `at` binds one to its anchor."""

    __slots__ = ("_anchor", "_builder", "_cx", "_explicit", "_listeners", "_names", "_rule", "_sources", "changes")

    def __init__(self, cx: Context | None = None, listeners: Iterable[Listener] = ()) -> None:
        self._cx = cx if cx is not None else Context()
        self._listeners = tuple(listeners)
        self._names: dict[Block, _PendingNames] = {}
        self._anchor: Op | None = None
        self._builder: _PendingBuilder | None = None
        self._explicit: set[Op] = set()
        self._rule = ""
        self._sources: tuple[Op, ...] = ()
        self.changes = 0
        """The changes that were made through this rewriter since it was bound."""

    def at(self, anchor: Op, *, rule: str = "", sources: Iterable[Op] = ()) -> Rewriter:
        """A rewriter that puts ops before `anchor`, and notes the rule and the ops that they were made from in their origin."""
        bound = type(self)(self._cx, self._listeners)
        bound._names = self._names
        bound._anchor = anchor
        bound._rule = rule
        bound._sources = tuple(sources) or (anchor,)
        return bound

    @property
    def opset(self) -> Opset | None:
        """The opset of the code at the anchor; None for one that this version does not know."""
        return self._pending().opset

    # making ops

    def op(
        self,
        op_type: str,
        /,
        *,
        like: Op | None = None,
        name: str | None = None,
        type: Type | None = None,  # noqa: A002
        attributes: Mapping[str, Const] | None = None,
        blocks: Sequence[Block] = (),
        **operands: Any,
    ) -> Value:
        """The result of a new op. Its type is inferred unless `type` states it.

        Operands are given as to `ir.builder.Builder.op`, or are captures; None leaves out an optional one. `like` is an op whose
        operands and attributes it takes over, where they are not given: what a pattern's `...` left free.

        Raises:
            BuilderError: the op does not exist in the opset, an operand stands for nothing, or the result type is not known.
            InferError: the operands do not fit together.
            RewriteError: the op has not one result: `results` is for those.
        """
        made = self._make(op_type, like, name, attributes, blocks, operands, type=type)
        if len(made.outputs) != 1:
            raise RewriteError(f"{op_type} has {len(made.outputs)} results, not one: make it with rw.results")
        return made.outputs[0]

    def results(
        self,
        op_type: str,
        /,
        *,
        like: Op | None = None,
        name: str | None = None,
        outputs: Iterable[tuple[str, Type]] | None = None,
        attributes: Mapping[str, Const] | None = None,
        blocks: Sequence[Block] = (),
        **operands: Any,
    ) -> tuple[Value, ...]:
        """The results of a new op, however many; otherwise as `op`. `outputs` states their names and types."""
        return self._make(op_type, like, name, attributes, blocks, operands, outputs=outputs).outputs

    def const(self, value: Python | Tensor | Const, *, hint: str = "", dtype: DType | None = None) -> Value:
        """The output of a new `const` op, called `hint` or something like it. `dtype` converts Python numbers."""
        builder = self._pending()
        return builder.const(value, name=builder.fresh(hint or f"{self._hint()}_const"), dtype=dtype)

    def discard(self) -> None:
        """Forgets the ops that were made and not used."""
        if self._builder is not None:
            for op in reversed(self._builder.made):
                self._builder.forget(op)
            self._builder.made.clear()
            self._explicit.clear()

    # changing the program

    def replace(self, op: Op, by: Replacement) -> None:
        """Lets `by` stand for the results of `op`, and erases `op` with what only it needed. O(uses).

        A value that its function returns keeps its name: the replacement takes it over or, where it cannot (it is an input, or returned
        itself), is passed through an `identity` that has it. A new op takes over the name of what it replaces in any case, unless it was
        made with one. Results keep their declared types.

        Raises:
            RewriteError: the replacement has another number of results, another type, or depends on `op`. Nothing was changed.
        """
        bound = self if self._anchor is not None else self.at(op)
        results = bound.resolved(op, by)
        refused = bound.refusal(op, results)
        if refused is not None:
            raise RewriteError(f"{describe(op)} cannot be replaced: {refused}")
        bound.commit(op, results)
        if bound is not self:
            self.changes += 1

    def resolved(self, op: Op, by: Replacement) -> tuple[Operand | None, ...]:
        """What stands for each result of `op`.

        Raises:
            RewriteError: their number is another, one is no operand, or one of them depends on `op`.
        """
        if op.block is None:
            raise RewriteError(f"{op.op_type} is gone already, so nothing can take its place; a rule that erased it itself returns None")
        given = by if isinstance(by, tuple) else by.outputs if isinstance(by, Op) else (by,)
        results: list[Operand | None] = []
        for each in given:
            operand = each.operand if isinstance(each, Constant) else each.output if isinstance(each, Op) else each
            if operand is not None and not isinstance(operand, Value | Const):
                raise RewriteError(f"{describe(op)} cannot be replaced by {each!r}, which is neither a value nor a literal")
            results.append(operand)
        if len(results) != len(op.outputs):
            raise RewriteError(f"{describe(op)} has {len(op.outputs)} results, and {len(results)} were given for it")
        for old, new in zip(op.outputs, results, strict=True):
            if new is None and old.is_used:
                raise RewriteError(f"%{old.name} of {describe(op)} is used, and nothing was given for it")
        self._check_independent(op, results)
        return tuple(results)

    def refusal(self, op: Op, results: tuple[Operand | None, ...]) -> Failure | None:
        """Why these cannot stand for the results of `op`; None where they can."""
        for old, new in zip(op.outputs, results, strict=True):
            if new is None:
                continue
            if new is old:
                return Failure("%{} would be replaced by itself", (old.name,))
            if not agree(old.type, new.type):
                return Failure("%{} is {}, and what would replace it is {}", (old.name, old.type, new.type))
            if op.op_type == "identity" and op.get("x") is new and self._needs_identity(old, new):
                return Failure("%{} needs its identity: a function returns it by that name", (old.name,))
            settled = isinstance(new, Value) and (new.op is None or new.op.block is not None)
            if isinstance(new, Value) and settled and returned_by(old) is None and is_hidden_from_users(new, new.name, old):
                return Failure("a block that uses %{} has another value called %{}: rename one of them", (old.name, new.name))
        return self._hidden_from_pending()

    def _hidden_from_pending(self) -> Failure | None:
        """Why a value that the pending ops use cannot be meant by its name where they would stand; None where all can."""
        builder = self._builder
        for made in builder.made if builder is not None else ():
            for value in used_values(made):
                if builder is not None and is_hidden(value, value.name, builder.block):
                    return Failure("by the name of %{}, {} would mean another value: rename one of them", (value.name, made))
        return None

    def commit(self, op: Op, results: tuple[Operand | None, ...]) -> None:
        """The change that `replace` makes, of results that `resolved` gave and `refusal` had nothing against."""
        stands: list[tuple[Value, Operand]] = []
        named: dict[Value, str] = {}
        for old, new in zip(op.outputs, results, strict=True):
            if new is not None:
                stands.append((old, self._prepared(op, old, new, named)))
        fresh = self._place(op, (value for _, value in stands if isinstance(value, Value)))
        for listener in self._listeners:
            listener.replaced(op, results)
        op_name = op.attributes.get(NAME)
        first = op.outputs[0].name if op.outputs else ""
        for old, new in stands:
            self._rewire(old, new, fresh)
        self._erase(op)
        for value, name in named.items():
            self._take_name(value, name, op_name if value in fresh and name == first else None)
        self.changes += 1

    def erase(self, op: Op) -> None:
        """Erases an op whose results nothing uses.

        Raises:
            MutationError: something does.
        """
        if op.is_used:
            op.erase()  # refuses, and says why
        for listener in self._listeners:
            listener.erased(op)
        op.erase()
        self.changes += 1

    def set(self, op: Op, parameter: str, *operands: Operand | Constant) -> None:
        """Lets `parameter` of `op` hold these operands.

        Raises:
            MutationError: one of them is neither a value nor a literal.
            RewriteError: a block around `op` has another value of the name of one of them.
        """
        held = [each.operand if isinstance(each, Constant) else each for each in operands]
        for each in held:
            if isinstance(each, Value) and op.block is not None and is_hidden(each, each.name, op.block):
                raise RewriteError(f"{describe(op)} cannot use %{each.name}: where it stands, that is the name of another value")
        self._place(op, (each for each in held if isinstance(each, Value)))
        op.set(parameter, *held)
        self._tell_changed(op)
        self.changes += 1

    def rename(self, value: Value, name: str) -> None:
        """Gives a value another name.

        Raises:
            RewriteError: a function takes or returns the value, so that its name is known outside.
            MutationError: the name is taken.
        """
        if isinstance(value.owner, Function) or returned_by(value) is not None:
            raise RewriteError(f"%{value.name} keeps its name: the function's callers know it")
        self._take_name(value, name, None)
        if value.op is not None:
            self._tell_changed(value.op)
        self.changes += 1

    # inside

    def _pending(self) -> _PendingBuilder:
        anchor = self._anchor
        if anchor is None or anchor.block is None:
            raise RewriteError("a rewriter makes ops before an op: take rewriter.at(op), of an op that stands in a block")
        if self._builder is None:
            self._builder = _PendingBuilder(anchor.block, names=self._names_in(anchor.block))
        return self._builder

    def _names_in(self, block: Block) -> _PendingNames:
        top, parent = block, block.parent
        while isinstance(parent, Op) and parent.block is not None:
            top = parent.block
            parent = top.parent
        names = self._names.get(top)
        if names is None:
            names = self._names[top] = _PendingNames(top)
        return names

    def _hint(self) -> str:
        anchor = self._anchor
        return anchor.outputs[0].name if anchor is not None and anchor.outputs else "new"

    def _make(
        self,
        op_type: str,
        like: Op | None,
        name: str | None,
        attributes: Mapping[str, Const] | None,
        blocks: Sequence[Block],
        operands: Mapping[str, Any],
        **stated: Any,
    ) -> Op:
        given = {parameter: _operand_of(operand) for parameter, operand in operands.items()}
        held_attributes: dict[str, Const] = {}
        if like is not None:
            given = {**{parameter: held for parameter, held in like.operands.items() if held}, **given}
            held_attributes = {key: value for key, value in like.attributes.items() if key != NAME and key not in operands}
        builder = self._pending()
        made = builder.op(
            op_type,
            name=name if name is not None else builder.fresh(f"{self._hint()}_{op_type}"),
            attributes={**held_attributes, **(attributes or {})},
            blocks=blocks,
            **stated,
            **given,
        )
        if name is not None:
            self._explicit.add(made)
        return made

    def _check_independent(self, op: Op, results: Iterable[Operand | None]) -> None:
        own = dict.fromkeys(op.outputs)
        for pending in self._builder.made if self._builder is not None else ():
            if any(value in own for value in used_values(pending)):
                raise RewriteError(f"what would replace {describe(op)} uses {describe(op)} itself")
        for each in results:
            source = each.op if isinstance(each, Value) else None
            if source is None or source is op or source.block is None or source.block is not op.block:
                continue
            if not source.is_before(op):
                raise RewriteError(f"{describe(op)} cannot be replaced by the result of {describe(source)}, which comes after it")

    def _prepared(self, op: Op, old: Value, new: Operand, named: dict[Value, str]) -> Operand:
        """What is to stand for `old` in the end: `new`, as a value where a block returns it, and in `named` if it takes the name."""
        if isinstance(new, Const):
            if not old.is_output:
                return new
            new = self.const(new, hint=old.name)
        source = new.op
        pending = source is not None and source.block is None
        if self._needs_identity(old, new, named):
            new = self.op("identity", x=new, type=old.type)
            named[new] = old.name
        elif returned_by(old) is not None or (pending and source not in self._explicit and new not in named):
            named[new] = old.name
        return new

    @staticmethod
    def _needs_identity(old: Value, new: Operand, named: Mapping[Value, str] | None = None) -> bool:
        """Whether a function returns `old`, and `new` can neither be renamed to it nor be of its type."""
        if returned_by(old) is None or not isinstance(new, Value):
            return False
        if (named is not None and new in named) or returned_by(new) is not None:
            return True
        source = new.op
        if source is None:
            return True
        settled = source.block is not None or source.op_type == "const"
        return settled and (new.type is not old.type or is_hidden_from_users(new, old.name, new))

    def _place(self, op: Op, used: Iterable[Value]) -> dict[Value, None]:
        """Puts the pending ops that `used` needs before the anchor, or before `op` where that comes first, and drops the others.

        Answers with the results of those put.
        """
        builder = self._builder
        if builder is None or not builder.made:
            return {}
        needed = dict.fromkeys(used)
        kept: list[Op] = []
        for made in reversed(builder.made):
            if any(value in needed for value in made.outputs) or _has_effect(made):
                needed.update((value, None) for value in used_values(made))
                kept.append(made)
            else:
                builder.forget(made)
        builder.made.clear()
        fresh: dict[Value, None] = {}
        anchor = self._anchor
        if anchor is None or anchor.block is None or (op.block is anchor.block and op.is_before(anchor)):
            anchor = op
        for made in reversed(kept):
            builder.names.reserved.difference_update(value.name for value in made.outputs)
            builder.block.insert_before(anchor, made)
            fresh.update((value, None) for value in made.outputs)
            self._cx.made(made, rule=self._rule, sources=self._sources)
            for listener in self._listeners:
                listener.inserted(made)
        return fresh

    def _rewire(self, old: Value, new: Operand, fresh: Mapping[Value, None]) -> None:
        users = dict.fromkeys(users_of(old))
        if isinstance(new, Value) and new in fresh and new.type is not old.type and not _is_const(new):
            new.type = old.type
        old.replace_uses(new)
        for user in users:
            changed = user if isinstance(user, Op) else user.parent
            if isinstance(changed, Op):
                self._tell_changed(changed)

    def _tell_changed(self, op: Op) -> None:
        self._cx.touched[op] = None
        for listener in self._listeners:
            listener.changed(op)

    def _take_name(self, value: Value, name: str, op_name: Const | None) -> None:
        """Renames a value, and its op with it where that had the name of the value; `op_name` is what the op is called where it is new."""
        op = value.op
        if op is not None and value is op.outputs[0] and NAME in op.attributes:
            if op_name is not None:
                op.set_attribute(NAME, op_name)
            elif op.name == value.name:
                op.set_attribute(NAME, Const.of(name))
        value.rename(name)

    def _erase(self, op: Op) -> None:
        """Erases an op, and then what it used and nothing else needs, as far as that leads."""
        pending = [op]
        while pending:
            doomed = pending.pop()
            used = dict.fromkeys(used_values(doomed))
            for listener in self._listeners:
                listener.erased(doomed)
            doomed.erase()
            sources = dict.fromkeys(value.op for value in used if not value.is_used)
            pending.extend(source for source in sources if source is not None and _is_dead(source))


class _PendingNames(Names):
    """The free names of a function, without those of ops that are pending."""

    __slots__ = ("reserved",)

    def __init__(self, block: Block) -> None:
        super().__init__(block)
        self.reserved: set[str] = set()

    def is_taken(self, name: str) -> bool:
        return name in self.reserved or super().is_taken(name)


class _PendingBuilder(Builder):
    """A builder whose ops are not put anywhere yet."""

    names: _PendingNames

    def __init__(self, block: Block, names: _PendingNames) -> None:
        super().__init__(block, opset=opset_of(block), names=names)
        self.made: list[Op] = []

    def insert(self, op: Op) -> Op:
        self.names.reserved.update(value.name for value in op.outputs)
        self.made.append(op)
        return op

    def forget(self, op: Op) -> None:
        """Lets go of what a pending op uses, and of its names. Those that use it have to be forgotten before."""
        self.names.reserved.difference_update(value.name for value in op.outputs)
        op.erase()


def _operand_of(given: Any) -> Any:
    if isinstance(given, Constant):
        return given.operand
    if isinstance(given, list | tuple):
        return type(given)(_operand_of(each) for each in given)
    return given


def _is_const(value: Value) -> bool:
    return value.op is not None and value.op.op_type == "const"


def _has_effect(op: Op) -> bool:
    spec = spec_of(op.op_type, OPSETS[-1])
    return not op.outputs or (spec is not None and spec.effect is Effect.WRITES)


def _is_dead(op: Op) -> bool:
    """Whether an op does nothing that anyone could notice. Of ops without a row, and of those with blocks, that is not known."""
    if op.block is None or op.blocks or op.is_used:
        return False
    spec = spec_of(op.op_type, OPSETS[-1])
    return spec is not None and spec.pure
