"""What passes over weights share: choosing by rules, planning without numbers, computing in parallel, replacing, reporting.

A scheme says what a config would make of a weight, from its type alone (a `Proposal`): the form that it would have, the work that makes
it, as data (a `Job`), and what to make of the job's results. The rest follows.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Protocol

from attrs import evolve, field, frozen

from ir.core import Program
from ir.opset import IOS16, Opset
from ir.tensors import Tensor
from ir.types import DType
from mlpasses.candidates import Bystander, Candidate, compressed_already, survey, unknown_specializations
from mlpasses.compress.jobs import Declined, Done, Job, run_jobs
from mlpasses.compress.kept import share_used
from mlpasses.compress.replacing import replace_weight
from mlpasses.context import Context
from mlpasses.contract import Preserved, raised_first
from mlpasses.errors import ConfigError
from mlpasses.findings import affirmed, place, plural
from mlpasses.forms.canonical import canonical
from mlpasses.forms.form import Form, Indexed
from mlpasses.passes import ProgramPass
from mlpasses.plan_rows import Planned, PlanRow, planned
from mlpasses.report import WeightRow
from mlpasses.resolution import Resolution, resolve
from mlpasses.rules import Rules, as_rules
from mlpasses.select import Named
from mlpasses.subjects import weight_subjects


class Config(Protocol):
    """The settings of a scheme."""

    @property
    def min_elements(self) -> int:
        """Weights with fewer elements are left alone."""
        ...

    @property
    def nonfinite(self) -> str:
        """What to do about NaN and infinite values: `skip` or `error`."""
        ...

    @property
    def scheme(self) -> str:
        """The scheme in a few words."""
        ...

    def needs(self, weight: DType) -> Opset:
        """The first opset that has the scheme for a weight of a type."""
        ...


@frozen(eq=False, slots=False)  # with slots, a cached property takes 1.5 µs when it is first asked for, and 0.6 µs without
class Proposal:
    """What a config would make of a weight: all that is known without its numbers."""

    candidate: Candidate
    config: Any
    key: Hashable
    """What agrees in it is computed once and stored once."""
    form: Form
    """The result, with abstract tensors; the largest that it may be."""
    job: Job
    """The work on the weight."""
    finish: Callable[[Mapping[str, Tensor]], Form]
    """The weight in its new form, from the parts that the job wrote."""
    least: int | None = None
    """The fewest bytes that the result may have, where that depends on the numbers."""
    why: str = ""
    """What it depends on."""
    may_stay: bool = False
    """Whether the numbers may be such that the weight stays as it is (NaN and infinite ones apart, which always may)."""
    remark: str = ""
    """What is different from what the config asks for."""
    since: Opset = IOS16
    """The first opset that has the form, where that is later than the config's."""

    @cached_property
    def needs(self) -> Opset:
        """The first opset that has the scheme."""
        needs: Opset = self.config.needs(self.candidate.dtype)
        return max(self.since, needs)

    @cached_property
    def opset(self) -> Opset:
        """The opset that the form is for: the candidate's, or the one that it will have to be raised to."""
        return max(self.candidate.opset, self.needs)


@frozen(eq=False)
class Computed:
    """A weight in its new form, and what the job said of it."""

    form: Form
    done: Done


@frozen(eq=False)
class Choice:
    """What becomes of a candidate: a proposal, or the reason why it is left alone; and the rule that decided, if one did."""

    candidate: Candidate
    outcome: Proposal | str
    rule: str
    """What the rule is called; nothing where there is but one."""
    position: int | None
    """Its place among the rules."""


@frozen
class WeightPass(ProgramPass):
    """A pass over weights, each with the config that its rules choose for it."""

    preserves: ClassVar[frozenset[Preserved]] = frozenset({Preserved.INTERFACE, Preserved.OPSET})
    replaces_weights: ClassVar[bool] = True

    rules: Rules = field(default=Rules(None), converter=as_rules)
    configs: ClassVar[tuple[type, ...]] = ()
    """The classes of config that the rules may hold."""

    def __attrs_post_init__(self) -> None:
        self.rules.expect(*self.configs)

    @abstractmethod
    def propose(self, candidate: Candidate, config: Any) -> Proposal | str:
        """What `config` would make of a weight, or why it leaves it alone. Looks at no number.

        Raises:
            ConfigError: the config is to refuse the program for this weight.
        """

    def propose_joint(self, candidate: Candidate, form: Form, config: Any) -> Proposal | str:
        """As `propose`, for a weight that is compressed already."""
        return compressed_already(candidate.op)

    def run(self, program: Program, cx: Context) -> int:
        selection = self._choose(program, cx)
        selection.checked()
        self._note_unknown(program, cx)
        work: dict[Hashable, Proposal] = {}
        for choice in selection.choices:
            if isinstance(choice.outcome, Proposal):
                work.setdefault(choice.outcome.key, choice.outcome)
        outcomes = run_jobs(self.name, [proposal.job for proposal in work.values()], cx)
        _check_finite(work.values(), outcomes)
        done = dict(zip(work, outcomes, strict=True))
        results: dict[tuple[Hashable, Opset], Computed | str] = {}
        changes = 0
        for choice in selection.choices:
            proposal = choice.outcome
            if isinstance(proposal, str):
                cx.weight(self._row(choice, proposal))
                continue
            key = proposal.key, choice.candidate.opset  # each opset writes what is stored once in its own way
            if key not in results:
                results[key] = _computed(proposal, done[proposal.key])
            result = results[key]
            if isinstance(result, Computed):
                replace_weight(choice.candidate, result.form, cx)
                changes += 1
            if work[proposal.key] is proposal:
                cx.weight(self._row(choice, result))
        for each in selection.bystanders:
            cx.weight(self._bystander(each))
        return changes

    def plan_on(self, program: Program, cx: Context) -> Planned:
        """What the pass would do, done to `program` with abstract tensors in place of results."""
        selection = self._choose(program, cx)
        self._note_unknown(program, cx)
        rows: list[PlanRow] = []
        forms: dict[tuple[Hashable, Opset], Form] = {}
        told: set[Hashable] = set()
        for choice in selection.choices:
            proposal, at = choice.outcome, choice.candidate.place
            unsure = cx.unsure.get(at) if choice.candidate.form is not None else None
            given = "" if unsure is None else f"if it is {choice.candidate.scheme} by then"
            if isinstance(proposal, Proposal):
                key = proposal.key, proposal.opset
                if key not in forms:
                    forms[key] = canonical(proposal.form, proposal.opset)  # one to the passes behind, too
                if choice.candidate.opset >= proposal.needs:  # below, no op says it, and the run refuses
                    replace_weight(choice.candidate, forms[key], cx)
                    cx.unsure.pop(at, None)
                    if proposal.may_stay or unsure is not None:
                        cx.unsure[at] = unsure or f"{self.name}: {proposal.why}"
                if proposal.key in told:
                    continue
                told.add(proposal.key)
            rows.append(self._plan_row(choice, given))
        rows += (planned(self._bystander(each)) for each in selection.bystanders)
        return Planned(tuple(rows), tuple(selection.faults()), doubts=tuple(selection.doubts))

    def _choose(self, program: Program, cx: Context) -> _Selection:
        found: list[Candidate] = []
        bystanders: list[Bystander] = []
        for each in survey(program, named=_exact_names(self.rules)):
            if isinstance(each, Candidate):
                found.append(each)
            else:
                bystanders.append(each)
        resolution = resolve(self.rules, weight_subjects(found), program)
        labels = ["" if len(self.rules) == 1 else self.rules.label(index) for index in range(len(self.rules))]
        choices: list[Choice] = []
        refusals: dict[int | None, list[str]] = {}
        doubts: list[str] = []
        left_alone: set[tuple[int, str]] = set()
        for candidate, decision in zip(found, resolution.decisions, strict=True):
            is_refused = False
            unsure = None if candidate.form is None else cx.unsure.get(candidate.place)
            try:
                outcome = decision.reason if decision.config is None else self._proposed(candidate, decision.config)
            except ConfigError as error:
                is_refused = True
                outcome = f"a run refuses it, if it is {candidate.scheme} by then ({unsure}): {error}" if unsure else str(error)
            if isinstance(outcome, str):
                stored = (id(candidate.stored), outcome)
                if stored in left_alone:  # what functions share is one weight: in bytes, and in a row
                    continue
                left_alone.add(stored)
            if is_refused:
                said = doubts if unsure else refusals.setdefault(decision.rule, [])
                said.append(f"{candidate.name} (of {candidate.op_type}): {outcome}")
            choices.append(Choice(candidate, outcome, "" if decision.rule is None else labels[decision.rule], decision.rule))
        bystanders = list({(id(each.storage), each.reason): each for each in reversed(bystanders)}.values())[::-1]
        refused = [text for position, texts in refusals.items() for text in (*texts[:-1], texts[-1] + self._stated(position))]
        return _Selection(resolution, choices, bystanders, [*refused, *self._lacking(choices)], doubts)

    def _proposed(self, candidate: Candidate, config: Config) -> Proposal | str:
        if not candidate.numel:
            return "it has no elements"
        if candidate.numel < config.min_elements:
            return f"it has {candidate.numel:,} elements, fewer than min_elements={config.min_elements}"
        if candidate.obstacle is not None and candidate.opset >= config.needs(candidate.dtype):
            return candidate.obstacle
        if candidate.form is None:
            return self.propose(candidate, config)
        return self.propose_joint(candidate, candidate.form, config)

    def _lacking(self, choices: Sequence[Choice]) -> list[str]:
        """What the opset of a function lacks for what rules chose: a sentence for each function, scheme and rule, and where that stands."""
        lacking: dict[tuple[str, str, Opset, Opset, int | None], int] = {}
        for choice in choices:
            proposal, opset = choice.outcome, choice.candidate.opset
            if isinstance(proposal, Proposal) and opset < proposal.needs:
                function = choice.candidate.op.function
                key = (function.name if function else "?", proposal.config.scheme, opset, proposal.needs, choice.position)
                lacking[key] = lacking.get(key, 0) + 1
        return [
            f"function {name} is written for {opset}, and {scheme} needs {needs}, for {plural(count, 'weight')}: "
            f"{raised_first(needs, self.name)}{self._stated(position)}"
            for (name, scheme, opset, needs, position), count in lacking.items()
        ]

    def _stated(self, position: int | None) -> str:
        """A line that says where a rule stands; nothing of a lone one that stands in no file."""
        if position is None or (len(self.rules) == 1 and self.rules[position].where is None):
            return ""
        return f"\n  --> {place(self.rules, position)}"

    def _note_unknown(self, program: Program, cx: Context) -> None:
        for function, opset in unknown_specializations(program):
            cx.note(f"function {function.name}", f"weights of its specialization for {opset} were left alone: that opset is not known")

    def _row(self, choice: Choice, result: Computed | str) -> WeightRow:
        candidate = choice.candidate
        size = candidate.nbytes
        row = WeightRow(
            self.name, candidate.name, candidate.op_type, candidate.shape, candidate.scheme, size, size,
            rule=choice.rule, where=candidate.where,
        )  # fmt: skip
        if isinstance(result, str):
            return evolve(row, skipped=result)
        assert isinstance(choice.outcome, Proposal)  # or nothing would have been computed
        finished = result.done.finished
        remarks = [remark for remark in (choice.outcome.remark, finished.remark) if remark]
        return evolve(
            row,
            scheme=choice.outcome.config.scheme,
            after=result.form.nbytes(candidate.opset),
            sqnr=finished.loss.sqnr,
            max_error=finished.loss.worst,
            lut_used=finished.lut_used,
            sparsity=result.form.sparsity,
            remark="; ".join(remarks),
        )

    def _bystander(self, each: Bystander) -> WeightRow:
        size = each.nbytes
        return WeightRow(self.name, each.name, each.op_type, each.shape, each.scheme, size, size, skipped=each.reason, where=each.where)

    def _plan_row(self, choice: Choice, given: str) -> PlanRow:
        """What becomes of a weight; `given` says on what condition, where an earlier pass may have left it as it was."""
        candidate, proposal = choice.candidate, choice.outcome
        size = candidate.nbytes
        if isinstance(proposal, str):
            return PlanRow(
                self.name, candidate.name, candidate.op_type, candidate.shape, candidate.scheme, choice.rule, size, size,
                skipped=proposal, where=candidate.where,
            )  # fmt: skip
        most = canonical(proposal.form, proposal.opset).nbytes(proposal.opset)
        return PlanRow(
            self.name, candidate.name, candidate.op_type, candidate.shape, proposal.config.scheme, choice.rule, size,
            after=max(most, size) if proposal.may_stay else most,
            least=most if proposal.least is None else proposal.least,
            why=proposal.why, needs=proposal.needs, where=candidate.where,
            remark="; ".join(filter(None, (proposal.remark, given))),
        )  # fmt: skip


@frozen(eq=False)
class _Selection:
    """What the rules choose, for each candidate, and what is wrong with that."""

    resolution: Resolution
    choices: list[Choice]
    bystanders: list[Bystander]
    refusals: list[str]
    doubts: list[str]
    """What it refuses if the numbers of weights are such as they may be; of a run, whose numbers are what they are, none."""

    def faults(self) -> list[str]:
        """Everything for which a run refuses."""
        return [*map(str, self.resolution.findings), *self.refusals]

    def checked(self) -> None:
        """Raises ConfigError if there are faults."""
        self.resolution.checked()
        if self.refusals:
            raise ConfigError("\n".join(self.refusals))


def _exact_names(rules: Rules) -> set[str]:
    """The names that rules spell out: they may be of constants that are no weights."""
    leaves = (leaf for rule in rules for leaf in affirmed(rule.filter))
    return {text for leaf in leaves if isinstance(leaf, Named) and leaf.word == "name" for text in leaf.exact}


def _check_finite(work: Iterable[Proposal], outcomes: Iterable[Done | Declined]) -> None:
    bad = [
        proposal.candidate
        for proposal, outcome in zip(work, outcomes, strict=True)
        if isinstance(outcome, Declined) and outcome.nonfinite and proposal.config.nonfinite == "error"
    ]
    if bad:
        listed = ", ".join(f"{each.name} (of {each.op_type})" for each in bad)
        raise ConfigError(
            f"NaN and infinite values cannot be compressed, and there are some in {listed}: "
            'mend these weights, or leave them alone with nonfinite="skip"'
        )


def _computed(proposal: Proposal, outcome: Done | Declined) -> Computed | str:
    if isinstance(outcome, Declined):
        return outcome.reason
    made = proposal.finish(outcome.tensors)
    form = canonical(made, proposal.candidate.opset)
    if isinstance(form.values, Indexed) and isinstance(made.values, Indexed) and form.values.tables != made.values.tables:
        outcome = evolve(outcome, finished=evolve(outcome.finished, lut_used=share_used(form)))  # of copies of tables, a part is used
    return Computed(form, outcome)
