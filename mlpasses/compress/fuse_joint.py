"""`FuseJoint`: chains of constexpr ops that others wrote, in the form that each opset has for them.

    %q: int8[8, 4] = constexpr_lut_to_dense(indices=uint4[8, 4], lut=int8[1, 1, 16, 1])
    %w: fp16[8, 4] = constexpr_blockwise_shift_scale(data=%q, scale=fp16[1, 1])
    →  %l: fp16[1, 1, 16, 1] = constexpr_blockwise_shift_scale(data=int8[1, 1, 16, 1], scale=fp16[1, 1, 1, 1])      before iOS26
       %w: fp16[8, 4] = constexpr_lut_to_dense(indices=uint4[8, 4], lut=%l)
"""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen

from ir.core import Program
from ir.opset import IOS18
from mlpasses.candidates import Candidate, survey
from mlpasses.compress.replacing import replace_weight
from mlpasses.context import Context
from mlpasses.contract import EVERYTHING, Preserved
from mlpasses.forms.canonical import canonical
from mlpasses.passes import ProgramPass


@frozen
class FuseJoint(ProgramPass):
    """constexpr_lut_to_dense ⇄ constexpr_blockwise_shift_scale: joint forms with their ops in the order that the opset has.

    A table of integers is scaled before it is looked up, and from iOS26 on behind that, but where each table has a scale of its own. Below
    iOS26 a scale for each channel behind a table that they share becomes a table for each of them. The weights stay the same, bit for bit.
    Chains that are written so, or have one order only, stay as they are.
    """

    preserves: ClassVar[frozenset[Preserved]] = EVERYTHING

    def run(self, program: Program, cx: Context) -> int:
        changes = 0
        for each in list(survey(program)):
            if not isinstance(each, Candidate) or each.form is None or each.opset < IOS18:
                continue
            form = canonical(each.form, each.opset)
            if form is not each.form:
                replace_weight(each, form, cx)
                changes += 1
        return changes
