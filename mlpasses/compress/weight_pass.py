"""What passes over weights share: choosing by rules, planning without numbers, computing in parallel, replacing, reporting.

A scheme says three things, and the rest follows: what a config would make of a weight (`propose`, from its type alone), the numbers
(`compute`, many weights at once), and how the result is written (a `Form`, whose tensors may be abstract).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar, Protocol, TypeAlias

from attrs import evolve, field, frozen

from ir.core import Op, Program
from ir.opset import Opset
from mlpasses.candidates import Bystander, Candidate, survey, unknown_specializations
from mlpasses.context import Context
from mlpasses.errors import ConfigError
from mlpasses.passes import ProgramPass
from mlpasses.plan_rows import Planned, PlanRow, planned
from mlpasses.report import WeightRow
from mlpasses.resolution import Resolution, resolve
from mlpasses.rules import Rules, as_rules
from mlpasses.subjects import weight_subjects


class Form(Protocol):
    """A weight in compressed form. In a plan its tensors are abstract."""

    def op(self, weight: Op, opset: Opset) -> Op:
        """The detached constexpr op that takes the place of the const op `weight`."""
        ...

    def nbytes(self, opset: Opset) -> int:
        """The bytes of the numbers that `op` holds."""
        ...


class Config(Protocol):
    """The settings of a scheme."""

    @property
    def min_elements(self) -> int:
        """Weights with fewer elements are left alone."""
        ...

    @property
    def scheme(self) -> str:
        """The scheme in a few words."""
        ...

    @property
    def needs(self) -> Opset:
        """The first opset that has the scheme."""
        ...


class Loss(Protocol):
    """What compression cost a weight."""

    @property
    def sqnr(self) -> float: ...
    @property
    def worst(self) -> float: ...


@frozen(eq=False)
class Proposal:
    """What a config would make of a weight: all that is known without its numbers."""

    candidate: Candidate
    config: Any
    key: Hashable
    """What agrees in it is computed once and stored once."""
    form: Form
    """The result, with abstract tensors."""
    least: int | None = None
    """The fewest bytes that the result may have, where that depends on the numbers."""
    why: str = ""
    """What it depends on."""


@frozen(eq=False)
class Computed:
    """A weight in its new form, and what that cost."""

    form: Form
    loss: Loss


@frozen(eq=False)
class Choice:
    """What becomes of a candidate: a proposal, or the reason why it is left alone; and the rule that decided, if one did."""

    candidate: Candidate
    outcome: Proposal | str
    rule: str


Outcome: TypeAlias = Computed | str


@frozen
class WeightPass(ProgramPass):
    """A pass over weights, each with the config that its rules choose for it."""

    rules: Rules = field(default=Rules(None), converter=as_rules)
    configs: ClassVar[tuple[type, ...]] = ()
    """The classes of config that the rules may hold."""

    def __attrs_post_init__(self) -> None:
        self.rules.expect(*self.configs)

    @abstractmethod
    def propose(self, candidate: Candidate, config: Any) -> Proposal | str:
        """What `config` would make of a weight, or why it leaves it alone. Looks at no number."""

    @abstractmethod
    def compute(self, work: Sequence[Proposal], cx: Context) -> Sequence[Outcome]:
        """The new form of each weight, or the reason why it has none."""

    def run(self, program: Program, cx: Context) -> int:
        resolution, choices, bystanders = self._choose(program)
        resolution.checked()
        lacking = self._lacking(choices)
        if lacking:
            raise ConfigError("\n".join(lacking))
        self._note_unknown(program, cx)
        work: dict[Hashable, Proposal] = {}
        for choice in choices:
            if isinstance(choice.outcome, Proposal):
                work.setdefault(choice.outcome.key, choice.outcome)
        results = dict(zip(work, self.compute(list(work.values()), cx), strict=True))
        changes = 0
        for choice in choices:
            proposal = choice.outcome
            result = proposal if isinstance(proposal, str) else results[proposal.key]
            if isinstance(result, str):
                cx.weight(self._row(choice, skipped=result))
                continue
            _replace(choice.candidate, result.form, cx)
            changes += 1
            if isinstance(proposal, Proposal) and work[proposal.key] is proposal:
                cx.weight(self._row(choice, result))
        for each in bystanders:
            cx.weight(self._bystander(each))
        return changes

    def plan_on(self, program: Program, cx: Context) -> Planned:
        """What the pass would do, done to `program` with abstract tensors in place of results."""
        resolution, choices, bystanders = self._choose(program)
        self._note_unknown(program, cx)
        findings = [*map(str, resolution.findings), *self._lacking(choices)]
        rows: list[PlanRow] = []
        seen: set[Hashable] = set()
        for choice in choices:
            proposal = choice.outcome
            if isinstance(proposal, Proposal):
                _replace(choice.candidate, proposal.form, cx)
                if proposal.key in seen:
                    continue
                seen.add(proposal.key)
            rows.append(self._plan_row(choice))
        rows += (planned(self._bystander(each)) for each in bystanders)
        return Planned(tuple(rows), tuple(findings))

    def _choose(self, program: Program) -> tuple[Resolution, list[Choice], list[Bystander]]:
        found: list[Candidate] = []
        bystanders: list[Bystander] = []
        for each in survey(program):
            if isinstance(each, Candidate):
                found.append(each)
            else:
                bystanders.append(each)
        resolution = resolve(self.rules, weight_subjects(found), program)
        labels = ["" if len(self.rules) == 1 else self.rules.label(index) for index in range(len(self.rules))]
        choices = []
        for candidate, decision in zip(found, resolution.decisions, strict=True):
            outcome = decision.reason if decision.config is None else self._proposed(candidate, decision.config)
            choices.append(Choice(candidate, outcome, "" if decision.rule is None else labels[decision.rule]))
        return resolution, choices, bystanders

    def _proposed(self, candidate: Candidate, config: Config) -> Proposal | str:
        if candidate.numel < config.min_elements:
            return f"it has {candidate.numel:,} elements, fewer than min_elements={config.min_elements}"
        if candidate.obstacle is not None and candidate.opset >= config.needs:
            return candidate.obstacle
        return self.propose(candidate, config)

    def _lacking(self, choices: Sequence[Choice]) -> list[str]:
        """What the opset of a function lacks for what the rules chose, a sentence for each function and scheme."""
        lacking: dict[tuple[str, str, Opset, Opset], int] = {}
        for choice in choices:
            proposal, opset = choice.outcome, choice.candidate.opset
            if isinstance(proposal, Proposal) and opset < proposal.config.needs:
                function = choice.candidate.const.function
                key = (function.name if function else "?", proposal.config.scheme, opset, proposal.config.needs)
                lacking[key] = lacking.get(key, 0) + 1
        return [
            f"function {name} is written for {opset}, and {scheme} needs {needs}, for {count} weights: "
            f'put RaiseOpset("{needs}") before {self.name}'
            for (name, scheme, opset, needs), count in lacking.items()
        ]

    def _note_unknown(self, program: Program, cx: Context) -> None:
        for function, opset in unknown_specializations(program):
            cx.note(f"function {function.name}", f"weights of its specialization for {opset} were left alone: that opset is not known")

    def _row(self, choice: Choice, result: Computed | None = None, skipped: str | None = None) -> WeightRow:
        candidate = choice.candidate
        tensor = candidate.tensor
        row = WeightRow(
            self.name, candidate.name, candidate.op_type, tensor.shape, tensor.dtype.name, tensor.nbytes, tensor.nbytes,
            rule=choice.rule, where=candidate.where,
        )  # fmt: skip
        if result is None or isinstance(choice.outcome, str):
            return evolve(row, skipped=skipped)
        return evolve(
            row,
            scheme=choice.outcome.config.scheme,
            after=result.form.nbytes(candidate.opset),
            sqnr=result.loss.sqnr,
            max_error=result.loss.worst,
        )

    def _bystander(self, each: Bystander) -> WeightRow:
        size = each.nbytes
        return WeightRow(self.name, each.name, each.op_type, each.shape, each.scheme, size, size, skipped=each.reason, where=each.where)

    def _plan_row(self, choice: Choice) -> PlanRow:
        candidate, proposal = choice.candidate, choice.outcome
        tensor = candidate.tensor
        row = PlanRow(
            self.name, candidate.name, candidate.op_type, tensor.shape, tensor.dtype.name, choice.rule, tensor.nbytes, tensor.nbytes,
            where=candidate.where,
        )  # fmt: skip
        if isinstance(proposal, str):
            return evolve(row, skipped=proposal)
        most = proposal.form.nbytes(max(candidate.opset, proposal.config.needs))
        least = most if proposal.least is None else proposal.least
        return evolve(row, scheme=proposal.config.scheme, needs=proposal.config.needs, after=most, least=least, why=proposal.why)


def _replace(candidate: Candidate, form: Form, cx: Context) -> None:
    const = candidate.const
    assert const.block is not None  # it was found in one
    op = form.op(const, candidate.opset)
    const.block.replace(const, op)
    cx.made(op, sources=(const,))
