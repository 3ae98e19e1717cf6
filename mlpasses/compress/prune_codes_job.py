"""The work of `PruneWeights` on a weight that is compressed already: which codes are kept, and those codes, unchanged."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
from attrs import frozen

from ir.flows import SLAB, of_tensor
from ir.packing import pack_tensor, packed_size
from ir.slabs import places_of
from ir.types import UINT1
from mlpasses.compress.engines import Engines
from mlpasses.compress.jobs import Declined, Finished, Outcome
from mlpasses.compress.kept import flags_of_vectors, share_used
from mlpasses.compress.prune_job import SECONDS_PER_BYTE, chosen_cut
from mlpasses.compress.writer import Part, Writer
from mlpasses.config.prune import PruneConfig, Threshold
from mlpasses.forms.decoding import dense_flow
from mlpasses.forms.form import Floats, Form, Indexed, codes_of, with_codes
from mlpasses.numerics.affine import Array, Loss, View
from mlpasses.numerics.bitstream import Pack, Packer


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

    def run(self, engines: Engines, out: Writer) -> Outcome:
        weight, kernels = out.array(dense_flow(self.stored)).reshape(self.view), engines.sparsity
        cut = chosen_cut(weight, self.config, kernels)
        values, made, loss = self.stored.values, _Pruned(self.stored, engines.pack, out), Loss()

        def flags() -> Iterator[Array]:
            nonlocal loss
            for piece, keep in cut.pieces(weight, kernels):
                loss += kernels.loss(piece, keep)
                yield keep

        if isinstance(values, Indexed) and values.vector_axis is not None:
            of_codes = flags_of_vectors(flags(), self.shape, values.vector_axis, values.tables[-1])
        else:
            of_codes = flags()
        for part in of_codes:
            made.take(part)
        made.finish()
        tensor, sparsity, kept = codes_of(self.stored), 1 - made.kept / made.count, made.kept
        if isinstance(self.config, Threshold) and sparsity < self.config.minimum_sparsity:
            return Declined(f"{sparsity:.1%} of it would be zero, less than minimum_sparsity={self.config.minimum_sparsity}")
        if not kept:  # as in `PruneJob`, one zero is stored, if there is a code for it
            zero = _code_of_zero(self.stored)
            if zero is None:
                return Declined("all of it would be zero, and an index is of some entry: put PruneWeights before what makes its codes")
            kept = 1
            out.write("mask", 0, np.ones(1, np.uint8))
            out.write("codes", 0, pack_tensor(zero, tensor.dtype))
        old = 0 if self.stored.mask is None else self.stored.mask.nbytes
        if packed_size(made.count, 1) + packed_size(kept, tensor.dtype.bits) >= tensor.nbytes + old:
            return Declined(f"it would not become smaller: {sparsity:.1%} of it would be zero, and a mask takes a bit an element")
        parts = {"mask": Part(UINT1, mask_shape(self.stored, self.shape)), "codes": Part(tensor.dtype, (kept,))}
        tensors = out.tensors(parts)
        return Finished(parts, loss, lut_used=share_used(with_codes(self.stored, tensors["codes"], tensors["mask"])))


class _Pruned:
    """The mask of a weight, and the codes that it keeps, written as the flags of its codes come, in order."""

    def __init__(self, form: Form, pack: Pack, out: Writer) -> None:
        tensor = codes_of(form)
        self._codes = of_tensor(tensor).reader()
        self._mask = None if form.mask is None else of_tensor(form.mask).reader()
        self._flags = Packer(1, pack, out.emit("mask"))
        self._packer = Packer(tensor.dtype.bits, pack, out.emit("codes")) if tensor.dtype.is_subbyte else None
        self._emit = out.emit("codes", tensor.dtype.bits // 8) if self._packer is None else self._packer
        self.count = 0
        """How many flags came."""
        self.kept = 0
        """How many codes are kept."""

    def take(self, flags: Array) -> None:
        for start in range(0, flags.size, SLAB):
            part = flags[start : start + SLAB]
            before = None if self._mask is None else self._mask(part.size)
            if before is None:
                kept = self._codes(part.size).take(places_of(part))
            else:
                stored = places_of(before)
                kept = self._codes(stored.size).take(places_of(part.take(stored)))
                part = part & before
            self._flags(self.count, part)
            self._emit(self.kept, kept)
            self.count += part.size
            self.kept += kept.size

    def finish(self) -> None:
        """To be called once, after the last flags."""
        self._flags.finish()
        if self._packer is not None:
            self._packer.finish()


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
