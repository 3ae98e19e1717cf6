"""`QuantizeWeights`: weights as integers with a scale.

    %w: fp16[8, 4] = const(val=…)
    →  %w: fp16[8, 4] = constexpr_affine_dequantize(quantized_data=int8[8, 4], zero_point=int8[8], scale=fp16[8], axis=0)      below iOS18
    →  %w: fp16[8, 4] = constexpr_blockwise_shift_scale(data=int8[8, 4], scale=fp16[8, 1])                                    from iOS18
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final, TypeAlias

from attrs import field, frozen

from ir.core import Program
from ir.opset import IOS16
from ir.tensors import Tensor
from mlpasses.candidates import Candidate, candidates, output_axis, unknown_specializations
from mlpasses.compress.affine_ops import AffineWeight
from mlpasses.compress.quantize_task import EngineName, Quantized, QuantizeTask, quantize_weight
from mlpasses.config import Quantize
from mlpasses.context import Context
from mlpasses.errors import ConfigError
from mlpasses.numerics.affine import Grid, Loss, NotFiniteError, channel_view, grid
from mlpasses.passes import ProgramPass
from mlpasses.report import WeightRow
from mlpasses.scratch import Store
from mlpasses.workers import run_tasks

__all__ = ["Quantize", "QuantizeWeights"]

COMPILED_FROM: Final = 48 << 20
"""Bytes of weights from which compiled kernels are worth their start-up.

Measured, processor time: NumPy takes 6.5 ms a megabyte of fp16; the kernels take 1.3 ms, and 0.27 s to import Numba and to load them. So
16 MB take 0.11 and 0.30 s, 64 MB take 0.43 and 0.35 s.
"""

Key: TypeAlias = tuple[Tensor, int | None]
"""A weight, and the axis of its channels (None: one scale for all). What agrees in both is computed once, and stored once."""


@frozen(eq=False)
class Compressed:
    """A weight in its new form, and what that cost."""

    weight: AffineWeight
    loss: Loss


@frozen
class QuantizeWeights(ProgramPass):
    """const → constexpr_affine_dequantize (below iOS18) or constexpr_blockwise_shift_scale: weights as int8 or uint8 with scales.

    Weights are the float consts that feed a parameter which the op tables mark as a weight. The new value keeps the weight's name and
    type, so that its consumers do not change. A weight that several ops, functions or models of a pipeline share stays shared. One that
    cannot be quantized is left as it is, to the bit, and the report says why.

    Raises:
        ConfigError: a function is written for iOS15, which has no constexpr ops; a weight holds NaN or infinite values, and the config
            asks for an error; or the scratch folder has too little space.
    """

    config: Quantize = field(factory=Quantize)

    def run(self, program: Program, cx: Context) -> int:
        found = candidates(program, self.config.min_elements)
        _check_opsets(found)
        for function, opset in unknown_specializations(program):
            cx.note(f"function {function.name}", f"weights of its specialization for {opset} were left alone: that opset is not known")
        plan = [(candidate, self._key(candidate)) for candidate in found]
        work: dict[Key, Candidate] = {}
        for candidate, key in plan:
            if not isinstance(key, str):
                work.setdefault(key, candidate)
        results = self._compress(work, cx)
        changes = 0
        for candidate, key in plan:
            result = key if isinstance(key, str) else results[key]
            if isinstance(result, str):
                cx.weight(self._skipped(candidate, result))
                continue
            _replace(candidate, result.weight, cx)
            changes += 1
            if not isinstance(key, str) and work[key] is candidate:
                cx.weight(self._compressed(candidate, result))
        return changes

    @property
    def levels(self) -> Grid:
        """The integers that the config allows."""
        integers = self.config.integers
        return grid(integers.bits, signed=integers.kind == "int", symmetric=self.config.mode == "symmetric")

    def _key(self, candidate: Candidate) -> Key | str:
        """What has to be computed for a weight, or why it is left alone."""
        if candidate.obstacle is not None:
            return candidate.obstacle
        axis = None if self.config.granularity == "per-tensor" else output_axis(candidate)
        if isinstance(axis, str):
            return axis
        tensor = candidate.tensor
        _, channels, _ = channel_view(tensor.shape, axis)
        elements = math.prod(tensor.shape)
        width = tensor.dtype.bits // 8
        if elements + channels * (width + (self.levels.zero != 0)) >= tensor.nbytes:
            return f"it would not become smaller: there would be a scale for every {elements // channels} of its elements"
        return tensor, axis

    def _compress(self, work: Mapping[Key, Candidate], cx: Context) -> dict[Key, Compressed | str]:
        """The new form of each weight, or the reason why it has none."""
        total = sum(tensor.nbytes for tensor, _ in work)
        engine: EngineName = "numba" if total >= COMPILED_FROM else "numpy"
        tasks = [
            QuantizeTask(candidate.name, tensor, channel_view(tensor.shape, axis), self.levels, engine, slot)
            for slot, ((tensor, axis), candidate) in enumerate(work.items())
        ]
        store = Store((math.prod(task.view) for task in tasks), cx.scratch)
        cx.progress.start(self.name, total)
        outcomes = run_tasks(
            partial(quantize_weight, store=store),
            tasks,
            size=lambda task: task.weight.nbytes,
            workers=cx.workers,
            done=lambda task: cx.progress.advance(task.weight.nbytes, task.name),
        )
        cx.progress.finish()
        self._check_finite(work.values(), outcomes)
        results: dict[Key, Compressed | str] = {}
        for (tensor, axis), task, outcome in zip(work, tasks, outcomes, strict=True):
            if isinstance(outcome, NotFiniteError):
                results[(tensor, axis)] = str(outcome)
                continue
            integers = store.tensor(task.slot, self.config.integers, tensor.shape)
            results[(tensor, axis)] = Compressed(AffineWeight(integers, outcome.affine, axis), outcome.loss)
        return results

    def _check_finite(self, weights: Iterable[Candidate], outcomes: Iterable[Quantized | NotFiniteError]) -> None:
        if self.config.nonfinite == "skip":
            return
        bad = [each for each, outcome in zip(weights, outcomes, strict=True) if isinstance(outcome, NotFiniteError)]
        if bad:
            listed = ", ".join(f"{each.name} (of {each.op_type})" for each in bad)
            raise ConfigError(
                f"NaN and infinite values cannot be quantized, and there are some in {listed}: "
                'mend these weights, or leave them alone with nonfinite="skip"'
            )

    def _skipped(self, candidate: Candidate, reason: str) -> WeightRow:
        tensor = candidate.tensor
        size = tensor.nbytes
        return WeightRow(self.name, candidate.name, candidate.op_type, tensor.shape, tensor.dtype.name, size, size, skipped=reason)

    def _compressed(self, candidate: Candidate, result: Compressed) -> WeightRow:
        tensor, loss = candidate.tensor, result.loss
        return WeightRow(
            self.name,
            candidate.name,
            candidate.op_type,
            tensor.shape,
            self.config.scheme,
            tensor.nbytes,
            result.weight.nbytes(candidate.opset),
            sqnr=loss.sqnr,
            max_error=loss.worst,
        )


def _check_opsets(found: Iterable[Candidate]) -> None:
    for candidate in found:
        if candidate.opset < IOS16:
            function = candidate.const.function
            raise ConfigError(
                f"function {function.name if function else '?'} is written for {candidate.opset}, and constexpr ops came with {IOS16}: "
                f'put RaiseOpset("{IOS16}") before quantize-weights'
            )


def _replace(candidate: Candidate, weight: AffineWeight, cx: Context) -> None:
    const = candidate.const
    assert const.block is not None  # it was found in one
    op = weight.op(const, candidate.opset)
    const.block.replace(const, op)
    cx.made(op, sources=(const,))
