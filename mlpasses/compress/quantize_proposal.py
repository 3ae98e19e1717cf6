"""What the proposals of quantization share, whether floats of a weight, of what its mask keeps or of its tables become integers."""

from __future__ import annotations

from attrs import evolve

from ir.opset import IOS18
from ir.tensors import AbstractTensor
from ir.types import DType
from mlpasses.compress.weight_pass import Proposal
from mlpasses.config.quantize import Quantize
from mlpasses.forms.form import Scaled


def abstract_integers(shape: tuple[int, ...], counts: tuple[int, ...], config: Quantize, stored: DType) -> Scaled:
    """Integers of a shape, with a scale for each of so many blocks, and a zero point unless it is 0 for all of them. No numbers."""
    offset = None if config.levels.zero == 0 else AbstractTensor(config.integers, counts)
    return Scaled(AbstractTensor(config.integers, shape), AbstractTensor(stored, counts), offset)


def if_smaller(proposal: Proposal, integers: Scaled) -> Proposal | str:
    """The proposal, with the fewest bytes that it may take; or why it would not become smaller."""
    before, most, scales = proposal.candidate.nbytes, proposal.form.nbytes(proposal.opset), integers.scale.nbytes
    if most >= before:
        return f"it would not become smaller: it takes {before:,} bytes, and would take {most:,}, of which {scales:,} are scales"
    # Below iOS18 there are zero points anyhow.
    if integers.offset is None or proposal.config.levels.zero is not None or proposal.opset < IOS18:
        return proposal
    return evolve(proposal, least=most - integers.offset.nbytes, why="zero points that are all 0 are left out")
