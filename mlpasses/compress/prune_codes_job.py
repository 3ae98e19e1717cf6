"""The work of `PruneWeights` on a weight that is compressed already: which codes are kept, and those codes, unchanged."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from attrs import frozen

from ir.packing import pack_tensor, packed_size
from ir.types import UINT1
from mlpasses.compress.jobs import Declined, EngineName, Finished, Outcome, Part, Writer
from mlpasses.compress.kept import of_vectors, share_used, taken
from mlpasses.compress.prune_job import SECONDS_PER_BYTE, chosen_cut, engine_named
from mlpasses.config.prune import PruneConfig, Threshold
from mlpasses.forms.decoding import decoded
from mlpasses.forms.form import Floats, Form, Indexed, codes_of, with_codes
from mlpasses.numerics.affine import Array, Loss, View


@frozen(eq=False)
class PruneCodesJob:
    """What has to be known to prune one compressed weight: magnitudes are those of its decoded elements."""

    name: str
    stored: Form
    view: View
    """The weight's shape as `[outer, channels, inner]`, with the channels that groups and blocks run along."""
    shape: tuple[int, ...]
    config: PruneConfig
    nbytes: int

    @property
    def effort(self) -> float:
        return math.prod(self.shape) * 4 * SECONDS_PER_BYTE

    def sizes(self) -> Mapping[str, int]:
        return {"mask": packed_size(math.prod(mask_shape(self.stored, self.shape)), 1), "codes": codes_of(self.stored).nbytes}

    def run(self, engine: EngineName, out: Writer) -> Outcome:
        weight = decoded(self.stored).reshape(self.view)
        kernels = engine_named(engine)
        cut = chosen_cut(weight, self.config, kernels)
        flags, loss = np.empty(weight.size, np.uint8), Loss()
        at = 0
        for values, keep in cut.pieces(weight, kernels):
            flags[at : at + keep.size] = keep
            at += keep.size
            loss += kernels.loss(values, keep)
        flags = self._of_codes(flags)
        sparsity = 1 - float(np.count_nonzero(flags)) / flags.size
        if isinstance(self.config, Threshold) and sparsity < self.config.minimum_sparsity:
            return Declined(f"{sparsity:.1%} of it would be zero, less than minimum_sparsity={self.config.minimum_sparsity}")
        tensor, codes = codes_of(self.stored), self._kept(flags)
        if not codes.size:  # as in `PruneJob`, one zero is stored, if there is a code for it
            zero = _code_of_zero(self.stored)
            if zero is None:
                return Declined("all of it would be zero, and an index is of some entry: put PruneWeights before what makes its codes")
            flags[0], codes = 1, zero
        old = 0 if self.stored.mask is None else self.stored.mask.nbytes
        if packed_size(flags.size, 1) + packed_size(codes.size, tensor.dtype.bits) >= tensor.nbytes + old:
            return Declined(f"it would not become smaller: {sparsity:.1%} of it would be zero, and a mask takes a bit an element")
        out.write("mask", 0, np.packbits(flags, bitorder="little"))
        out.write("codes", 0, pack_tensor(codes, tensor.dtype))
        parts = {"mask": Part(UINT1, mask_shape(self.stored, self.shape)), "codes": Part(tensor.dtype, codes.shape)}
        tensors = out.tensors(parts)
        return Finished(parts, loss, lut_used=share_used(with_codes(self.stored, tensors["codes"], tensors["mask"])))

    def _of_codes(self, flags: Array) -> Array:
        """The flags of codes, of those of elements."""
        values = self.stored.values
        if isinstance(values, Indexed) and values.vector_axis is not None:
            flags = of_vectors(flags, self.shape, values.vector_axis, values.tables[-1])
        if self.stored.mask is not None:
            flags = flags.reshape(-1) & self.stored.mask.numpy().reshape(-1)
        return flags.reshape(-1)

    def _kept(self, flags: Array) -> Array:
        mask = self.stored.mask
        return taken(codes_of(self.stored).numpy(), flags if mask is None else taken(flags, mask.numpy()))


def _code_of_zero(form: Form) -> Array | None:
    """The code that the first element has where it is zero; None where there need not be one."""
    values, dtype = form.values, codes_of(form).dtype
    if isinstance(values, Indexed):
        return None
    if isinstance(values, Floats) or values.offset is None:
        return np.zeros(1, dtype.numpy)
    return values.offset.numpy().reshape(-1)[:1] if values.offset.dtype is dtype else None


def mask_shape(form: Form, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a mask over the codes of a weight: that of the weight, shorter along the axis of vectors."""
    values = form.values
    if not isinstance(values, Indexed) or values.vector_axis is None:
        return shape
    return tuple(dim // values.tables[-1] if at == values.vector_axis else dim for at, dim in enumerate(shape))
