"""`DecompressWeights`: constants in a compressed form, as plain ones again.

    %i: fp16[1, 4, 1] = constexpr_blockwise_shift_scale(data=int8[1, 4, 1], scale=fp16[1, 1, 1])
    %w: fp16[64] = constexpr_lut_to_dense(indices=uint2[64], lut=%i)
    →  %w: fp16[64] = const(val=fp16[64])

A chain becomes one const by the name of its last op, so consumers do not change. Values are what `ir.constexprs` says: float32 arithmetic,
rounded once. They are computed piece by piece, so that memory does not grow with them, and all of them before anything changes, so that a
malformed weight leaves the program as it was.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import ClassVar

from attrs import frozen

from ir.const import Const
from ir.constexprs import EVALUATORS, Step, chain, check, expanded_steps, steps
from ir.core import Op, Program, Value
from ir.packing import packed_size
from ir.schemes import stored_tensors
from ir.specs import is_constexpr
from ir.substitute import by_consts
from ir.tensors import AbstractTensor, Tensor
from ir.types import TensorType, Type
from ir.weights import placed_ops
from mlpasses.compress.engines import Engines
from mlpasses.compress.jobs import Done, Finished, run_jobs
from mlpasses.compress.writer import Part, Writer
from mlpasses.context import Context
from mlpasses.contract import EVERYTHING, Preserved
from mlpasses.numerics.affine import Loss
from mlpasses.passes import ProgramPass
from mlpasses.plan_rows import Planned, planned
from mlpasses.report import WeightRow


@frozen
class DecompressWeights(ProgramPass):
    """constexpr_* → const: every compressed weight as the dense one that it stands for, chains too.

    Constants that are computed from the same literals (a weight that functions share) are computed once, and stay one in the file. An op of
    an unknown constexpr type is left alone, with the chain that it is in, and a note says so.

    Raises:
        EvaluationError: the operands of a constexpr op do not fit together; it names the op.
        ConfigError: the scratch folder has too little space for the dense weights.
    """

    preserves: ClassVar[frozenset[Preserved]] = EVERYTHING
    replaces_weights: ClassVar[bool] = True

    def run(self, program: Program, cx: Context) -> int:
        found, work = _find(program, cx)
        results = self._evaluate(list(work.values()), cx)
        for each in work.values():
            cx.weight(_row(self.name, each))
        _replace(found, results, cx)
        return len(found)

    def plan_on(self, program: Program, cx: Context) -> Planned:
        """What the pass would do, done to `program` with abstract tensors in place of results."""
        found, work = _find(program, cx)
        results = {each.number: {value.index: _abstract(value) for value in each.outputs} for each in work.values()}
        rows = tuple(planned(_row(self.name, each)) for each in work.values())
        _replace(found, results, cx)
        return Planned(rows)

    def _evaluate(self, work: Sequence[_Compressed], cx: Context) -> dict[int, Mapping[int, Tensor]]:
        """The dense values by number and output, large ones in a scratch file."""
        outcomes = run_jobs(self.name, [_job(each) for each in work], cx)
        found: dict[int, Mapping[int, Tensor]] = {}
        for each, outcome in zip(work, outcomes, strict=True):
            assert isinstance(outcome, Done)  # no job declines
            found[each.number] = {value.index: outcome.tensors[str(value.index)] for value in each.outputs}
        return found


def _find(program: Program, cx: Context) -> tuple[list[_Compressed], dict[int, _Compressed]]:
    """The compressed constants of a program; and, by number, one of each that have equal values."""
    numbers = _Numbers()
    found: list[_Compressed] = []
    for _, where, op in placed_ops(program):
        if is_constexpr(op.op_type) and _is_last(op):
            each = _compressed(op, where, numbers, cx)
            if each is not None:
                found.append(each)
    work: dict[int, _Compressed] = {}
    for each in found:
        work.setdefault(each.number, each)
    return found, work


def _replace(found: list[_Compressed], results: Mapping[int, Mapping[int, Tensor]], cx: Context) -> None:
    """Backwards, so that what stands in the middle of one chain and ends another is used by its own only."""
    for each in reversed(found):
        dense = results[each.number]
        wanted = [value for value in each.outputs if value.is_used] or each.outputs
        cx.made(*by_consts(each.op, {value: dense[value.index] for value in wanted}), sources=(each.op,))


def _abstract(value: Value) -> Tensor:
    kind = value.type
    assert isinstance(kind, TensorType)  # its operands were checked against it
    return AbstractTensor(kind.dtype, kind.static_shape)


@frozen(eq=False)
class _Compressed:
    """The last op of a chain, and those of its outputs that may become consts. Equal numbers stand for equal values."""

    op: Op
    where: str
    chain: list[Op]
    number: int
    outputs: tuple[Value, ...]


@frozen(eq=False)
class DecompressJob:
    """What has to be known to decompress one constant."""

    name: str
    chained: tuple[Step, ...]
    outputs: tuple[int, ...]
    """The outputs of the last step that are wanted."""
    nbytes: int
    effort: float = 0.0  # it has no compiled kernels

    def sizes(self) -> Mapping[str, int]:
        kinds = [self.chained[-1].outputs[index][1] for index in self.outputs]
        return {str(index): _type_nbytes(kind) for index, kind in zip(self.outputs, kinds, strict=True)}

    def run(self, engines: Engines, out: Writer) -> Finished:
        results = expanded_steps(self.chained)
        for index in self.outputs:
            out.stream(str(index), results[index].payload())
        return Finished({str(index): Part(results[index].dtype, results[index].shape) for index in self.outputs}, Loss())


def _job(each: _Compressed) -> DecompressJob:
    return DecompressJob(each.op.name, tuple(steps(each.op)), tuple(value.index for value in each.outputs), sum(map(_nbytes, each.outputs)))


class _Numbers:
    """Numbers for values: equal ones for what is computed alike from equal literals."""

    def __init__(self) -> None:
        self._known: dict[Hashable, int] = {}
        self._of: dict[Op, int] = {}

    def of(self, ops: list[Op]) -> int:
        """The number of the last of `ops`, each of which comes behind those that it uses."""
        for op in ops:
            if op not in self._of:
                self._of[op] = self._known.setdefault(self._key(op), len(self._known))
        return self._of[ops[-1]]

    def _key(self, op: Op) -> Hashable:
        operands = sorted((name, tuple(map(self._operand, held))) for name, held in op.operands.items())
        literals = sorted((name, literal) for name, literal in op.attributes.items() if name != "name")
        return op.op_type, tuple(operands), tuple(literals), tuple(value.type for value in op.outputs)

    def _operand(self, operand: Value | Const) -> Hashable:
        if isinstance(operand, Const):
            return operand
        source = operand.op
        if source in self._of:
            return self._of[source], operand.index
        literal = source.attributes.get("val") if source is not None and source.op_type == "const" else None
        return operand if literal is None else literal


def _is_last(op: Op) -> bool:
    """Whether an op is the end of a chain: something else than another constexpr op uses it, or nothing does."""
    uses = [use.user for value in op.outputs for use in value.uses]
    return not uses or any(not isinstance(user, Op) or not is_constexpr(user.op_type) for user in uses)


def _compressed(op: Op, where: str, numbers: _Numbers, cx: Context) -> _Compressed | None:
    ops = chain(op)
    unknown = next((each for each in ops if each.op_type not in EVALUATORS), None)
    if unknown is not None:
        cx.note(f"{op.op_type} {op.name}", f"it is left as it is: nobody knows what {unknown.op_type} {unknown.name} computes")
        return None
    for each in ops:
        check(each)
    return _Compressed(op, where, ops, numbers.of(ops), tuple(value for value in op.outputs if value.is_used) or op.outputs)


def _nbytes(value: Value) -> int:
    """What a value takes when dense, by its declared type."""
    return _type_nbytes(value.type)


def _type_nbytes(kind: Type) -> int:
    return packed_size(kind.numel or 0, kind.dtype.bits) if isinstance(kind, TensorType) else 0


def _row(pass_name: str, each: _Compressed) -> WeightRow:
    value = each.outputs[-1]
    kind = value.type
    assert isinstance(kind, TensorType)  # the evaluation was checked against it
    users = value.users
    return WeightRow(
        pass_name,
        value.name,
        users[0].op_type if users else "",
        kind.static_shape,
        f"dense {kind.dtype}",
        before=sum(tensor.nbytes for tensor in stored_tensors(each.chain)),
        after=sum(map(_nbytes, each.outputs)),
        sqnr=math.inf,
        max_error=0.0,
        where=each.where,
    )
