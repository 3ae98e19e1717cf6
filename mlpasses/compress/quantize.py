"""`QuantizeWeights`: weights as integers with a scale.

    %w: fp16[8, 4] = const(val=…)
    →  %w: fp16[8, 4] = constexpr_affine_dequantize(quantized_data=int8[8, 4], zero_point=int8[8], scale=fp16[8], axis=0)      below iOS18
    →  %w: fp16[8, 4] = constexpr_blockwise_shift_scale(data=int8[8, 4], scale=fp16[8, 1])                                    from iOS18
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import ClassVar, Final

from attrs import evolve, field, frozen

from ir.opset import IOS18
from ir.tensors import AbstractTensor
from mlpasses.candidates import Candidate, output_axis
from mlpasses.compress.affine_ops import AffineWeight
from mlpasses.compress.quantize_task import EngineName, Quantized, QuantizeTask, quantize_weight
from mlpasses.compress.weight_pass import Computed, Outcome, Proposal, WeightPass
from mlpasses.config import Quantize
from mlpasses.context import Context
from mlpasses.errors import ConfigError
from mlpasses.numerics.affine import NotFiniteError, channel_view
from mlpasses.rules import Rules, as_rules
from mlpasses.scratch import Store
from mlpasses.workers import run_tasks

__all__ = ["Quantize", "QuantizeWeights"]

COMPILED_FROM: Final = 48 << 20
"""Bytes of weights from which compiled kernels are worth their start-up.

Measured, processor time: NumPy takes 6.5 ms a megabyte of fp16; the kernels take 1.3 ms, and 0.27 s to import Numba and to load them. So
16 MB take 0.11 and 0.30 s, 64 MB take 0.43 and 0.35 s.
"""

@frozen
class QuantizeWeights(WeightPass):
    """const → constexpr_affine_dequantize (below iOS18) or constexpr_blockwise_shift_scale: weights as int8 or uint8 with scales.

    Weights are the float consts that feed a parameter which the op tables mark as a weight. The new value keeps the weight's name and
    type, so that its consumers do not change. A weight that several ops, functions or models of a pipeline share stays shared. One that
    cannot be quantized is left as it is, to the bit, and the report says why.

    Raises:
        ConfigError: something is wrong with the rules; a function is written for iOS15, which has no constexpr ops; a weight holds NaN
            or infinite values, and the config asks for an error; or the scratch folder has too little space.
    """

    rules: Rules = field(default=Rules(Quantize()), converter=as_rules)
    """Which weights, and how each; a lone config is for all."""

    configs: ClassVar[tuple[type, ...]] = (Quantize,)

    def propose(self, candidate: Candidate, config: Quantize) -> Proposal | str:
        axis = None if config.granularity == "per-tensor" else output_axis(candidate)
        if isinstance(axis, str):
            return axis
        tensor = candidate.tensor
        integers, scale = config.integers, tensor.dtype
        channels = (1,) if axis is None else (tensor.shape[axis],)
        offset = None if config.levels.zero == 0 else AbstractTensor(integers, channels)
        form = AffineWeight(AbstractTensor(integers, tensor.shape), AbstractTensor(scale, channels), offset, axis)
        opset = max(candidate.opset, config.needs)
        if form.nbytes(opset) >= tensor.nbytes:
            return f"it would not become smaller: there would be a scale for every {candidate.numel // channels[0]} of its elements"
        key = (tensor, axis, config)
        if config.levels.zero is not None or opset < IOS18:
            return Proposal(candidate, config, key, form)
        return Proposal(candidate, config, key, form, evolve(form, offset=None).nbytes(opset), "zero points that are all 0 are left out")

    def compute(self, work: Sequence[Proposal], cx: Context) -> list[Outcome]:
        total = sum(proposal.candidate.tensor.nbytes for proposal in work)
        engine: EngineName = "numba" if total >= COMPILED_FROM else "numpy"
        tasks = [_task(slot, proposal, engine) for slot, proposal in enumerate(work)]
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
        _check_finite(work, outcomes)
        return [_computed(*each, store) for each in zip(work, tasks, outcomes, strict=True)]


def _task(slot: int, proposal: Proposal, engine: EngineName) -> QuantizeTask:
    form, config, tensor = proposal.form, proposal.config, proposal.candidate.tensor
    assert isinstance(form, AffineWeight)  # as proposed above
    return QuantizeTask(proposal.candidate.name, tensor, channel_view(tensor.shape, form.axis), config.levels, engine, slot)


def _computed(proposal: Proposal, task: QuantizeTask, outcome: Quantized | NotFiniteError, store: Store) -> Outcome:
    form = proposal.form
    assert isinstance(form, AffineWeight)
    if isinstance(outcome, NotFiniteError):
        return str(outcome)
    integers = store.tensor(task.slot, form.data.dtype, form.data.shape)
    return Computed(AffineWeight.of(integers, outcome.affine, form.axis), outcome.loss)


def _check_finite(work: Iterable[Proposal], outcomes: Iterable[Quantized | NotFiniteError]) -> None:
    bad = [
        proposal.candidate
        for proposal, outcome in zip(work, outcomes, strict=True)
        if isinstance(outcome, NotFiniteError) and proposal.config.nonfinite == "error"
    ]
    if bad:
        listed = ", ".join(f"{each.name} (of {each.op_type})" for each in bad)
        raise ConfigError(
            f"NaN and infinite values cannot be quantized, and there are some in {listed}: "
            'mend these weights, or leave them alone with nonfinite="skip"'
        )
