"""`OpPass`: a pass over ops, each with the config that its rules choose for it.

    SetGeluMode(Rules((name("*head*"), None), default=Mode("TANH_APPROXIMATION")))

Rules choose as they do for weights (`mlpasses.resolution`): what is wrong with them is found before anything changes, and a plan shows
which op gets which config by which rule. A pass says what a config means for one op, and no more.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import attrs
from attrs import Factory, evolve, field, frozen

from ir.core import Block, Op, Program
from ir.diagnostics import AbstractError
from mlpasses.context import Context
from mlpasses.contract import placed_functions
from mlpasses.errors import PassError
from mlpasses.passes import ProgramPass
from mlpasses.plan_rows import Planned
from mlpasses.report import OpRow
from mlpasses.resolution import Decision, Resolution, resolve
from mlpasses.rules import Rules, as_rules, source
from mlpasses.select import everything
from mlpasses.subjects import op_subjects


def _default_rules(each: OpPass) -> Rules:
    first = each.configs[0] if each.configs else None
    if first is None or any(one.init and one.default is attrs.NOTHING for one in attrs.fields(first)):
        return Rules(None)
    return Rules(first())


@frozen
class OpPass(ProgramPass):
    """A pass over ops. Derive, decorate with `attrs.frozen`, name the `configs` and the `op_types`, and write `rewrite`.

    Where no rules are given, every op that the pass is about gets the first config with its defaults. Ops are taken in program order: all
    functions, specializations and nested blocks. Those that a rewrite makes are not visited, nor those that an earlier one took away. What
    is left alone for a reason, be it a rule's or the pass', has a note with it.

    Raises:
        ConfigError: something is wrong with the rules.
    """

    rules: Rules = field(default=Factory(_default_rules, takes_self=True), converter=as_rules)
    """Which ops, and how each; a lone config is for all."""
    configs: ClassVar[tuple[type, ...]] = ()
    """The classes of config that the rules may hold."""
    op_types: ClassVar[tuple[str, ...] | None] = None
    """The types of op that the pass is about; None for all, constants too."""

    def __attrs_post_init__(self) -> None:
        self.rules.expect(*self.configs)

    @abstractmethod
    def rewrite(self, op: Op, config: Any, cx: Context) -> int | str:
        """Does to one op what `config` says; answers with the number of changes, or with the reason why the op is left alone.

        `cx.rewriter` makes ops that stand before `op`; what it made and nobody uses is forgotten. A plan calls this on a program whose
        weights are abstract: look at types where types are enough, and at numbers before the first change.
        """

    def run(self, program: Program, cx: Context) -> int:
        resolution = self._resolved(program).checked()
        rows = list(self._rewritten(program, resolution, cx))
        cx.ops += rows
        return sum(row.changes or 0 for row in rows)

    def plan_on(self, program: Program, cx: Context) -> Planned:
        """What the pass would do, done to `program`, whose weights are abstract."""
        resolution = self._resolved(program)
        rows = tuple(self._rewritten(program, resolution, cx))
        return Planned(findings=tuple(map(str, resolution.findings)), ops=rows)

    def _resolved(self, program: Program) -> Resolution:
        """The rules, applied to the ops that some rule may match or, where something is wrong with the rules, to all that they might."""
        bound = self.rules.op_types()
        own = None if self.op_types is None else frozenset(self.op_types)
        near = own if bound is None else bound if own is None else bound & own
        found = resolve(self.rules, op_subjects(program, _ordered(near)), program)
        return resolve(self.rules, op_subjects(program, _ordered(own)), program) if found.findings and near != own else found

    def _rewritten(self, program: Program, resolution: Resolution, cx: Context) -> Iterator[OpRow]:
        """Rewrites op after op; a row for each that changed or, in a plan, may change."""
        places = _places(program)
        labels = ["" if len(self.rules) == 1 else self.rules.label(index) for index in range(len(self.rules))]
        for subject, decision in zip(resolution.subjects, resolution.decisions, strict=True):
            op = subject.op
            if op.block is None or op.function is None:
                continue
            where = places[op.block]
            if decision.config is None:
                if self._is_told(decision):
                    cx.note(_named(op, where), decision.reason)
                continue
            rule = "" if decision.rule is None else labels[decision.rule]
            row = OpRow(self.name, op.name, op.op_type, source(decision.config), rule, where=where)
            label = _named(op, where)
            answer = self._answer(op, decision.config, program, cx)
            if isinstance(answer, AbstractError):
                yield evolve(row, why=f"it depends on the numbers of weights ({answer})")
            elif isinstance(answer, str):
                cx.note(label, answer)
            elif answer:
                yield evolve(row, changes=answer)

    def _is_told(self, decision: Decision) -> bool:
        """Whether a rule leaves an op alone that somebody may ask after: not where none matches, or the rest is left alone at the end."""
        if decision.rule is None:
            return False
        rule = self.rules[decision.rule]
        return rule.filter != everything or bool(rule.config.reason)

    def _answer(self, op: Op, config: Any, program: Program, cx: Context) -> int | str | AbstractError:
        version, label = program.version, f"{op.op_type} {op.name}"
        rewriter = cx.anchored(op)
        try:
            answer = self.rewrite(op, config, cx)
        except AbstractError as error:  # only plans have such tensors
            if program.version != version:
                raise
            rewriter.discard()
            return error
        rewriter.discard()
        if not isinstance(answer, int | str):
            raise PassError(f"rewrite of {self.name} answers with a number of changes or with a reason, not with {answer!r}, for {label}")
        if program.version != version and not (isinstance(answer, int) and answer):
            raise PassError(f"rewrite of {self.name} answers with {answer!r} for {label}, and changed the program")
        return answer


def _places(program: Program) -> dict[Block, str]:
    """Where each block is: the function, with stage, specialization and the ops around it as far as there are several."""
    places: dict[Block, str] = {}
    for where, function in placed_functions(program):
        several = len(function.specializations) > 1
        pending = [(body, f"{where}<{key}>" if several else where) for key, body in function.specializations.items()]
        while pending:
            block, place = pending.pop()
            places[block] = place
            pending += [(inner, f"{place}/{op.name}[{i}]") for op in block.nesting_ops() for i, inner in enumerate(op.blocks)]
    return places


def _named(op: Op, where: str) -> str:
    return f"{op.op_type} {op.name} in {where}"


def _ordered(op_types: Iterable[str] | None) -> list[str] | None:
    return None if op_types is None else sorted(op_types)
