"""`QuantizeLuts`: the look-up tables of palettized weights as integers with a scale.

    %w: fp16[8, 4] = constexpr_lut_to_dense(indices=uint4[8, 4], lut=fp16[1, 1, 16, 1])
    →  %l: fp16[1, 1, 16, 1] = constexpr_blockwise_shift_scale(data=int8[1, 1, 16, 1], scale=fp16[1, 1, 1, 1])
       %w: fp16[8, 4] = constexpr_lut_to_dense(indices=uint4[8, 4], lut=%l)                                      below iOS26
    →  %q: int8[8, 4] = constexpr_lut_to_dense(indices=uint4[8, 4], lut=int8[1, 1, 16, 1])
       %w: fp16[8, 4] = constexpr_blockwise_shift_scale(data=%q, scale=fp16[1, 1])                               from iOS26, for one scale
"""

from __future__ import annotations

from typing import Any, ClassVar

from attrs import evolve, field, frozen

from mlpasses.candidates import Candidate
from mlpasses.compress.joint import row_of
from mlpasses.compress.quantize_joint import quantized_table
from mlpasses.compress.weight_pass import Proposal, WeightPass
from mlpasses.config.tables import QuantizeLut
from mlpasses.forms.form import Form, Indexed
from mlpasses.rules import Rules, as_rules

__all__ = ["QuantizeLut", "QuantizeLuts"]


def _as_rules(value: Any) -> Rules:
    """Rules, a lone config, or the type of the integers."""
    return as_rules(QuantizeLut(value) if isinstance(value, str) else value)  # type: ignore[arg-type]  # the config says which there are


@frozen
class QuantizeLuts(WeightPass):
    """lut=fp16 → lut=constexpr_blockwise_shift_scale(int8): the tables of palettized weights as integers of 8 bits with a scale.

    It changes weights that have a table of floats, sparse ones too; any other is left as it is, and the report says why. Indices and masks
    stay as they are. `QuantizeLuts("int8")` is short for `QuantizeLuts(QuantizeLut("int8"))`.

    Raises:
        ConfigError: something is wrong with the rules; a function is written for an opset before iOS18; or a table holds NaN or infinite
            values, and the config asks for an error.
    """

    rules: Rules = field(default=Rules(QuantizeLut()), converter=_as_rules)
    """Which weights, and how each; a lone config is for all."""

    configs: ClassVar[tuple[type, ...]] = (QuantizeLut,)

    def propose(self, candidate: Candidate, config: QuantizeLut) -> Proposal | str:
        return "it has no look-up table: put PalettizeWeights before"

    def propose_joint(self, candidate: Candidate, form: Form, config: QuantizeLut) -> Proposal | str:
        if not isinstance(form.values, Indexed):
            return "it has no look-up table"
        row = row_of(form, "quantize")
        if row.becomes is None:
            return "its tables are of integers already"
        proposal = quantized_table(candidate, form, config.quantize)
        return proposal if isinstance(proposal, str) else evolve(proposal, config=config, since=row.since)
