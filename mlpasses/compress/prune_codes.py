"""Pruning of weights that are compressed already: the codes that are kept stay as they are, and those of the others go.

    %w: fp16[8, 4] = constexpr_blockwise_shift_scale(data=int8[8, 4], scale=fp16[8, 1])
    →  %m: uint1[8, 4], %k: fp16[D] = constexpr_sparse_blockwise_shift_scale(data_mask=uint1[8, 4], nonzero_data=int8[D], scale=fp16[8, 1])
       %w: fp16[8, 4] = constexpr_sparse_to_dense(nonzero_data=%k, mask=%m)

    %w: fp16[8, 4] = constexpr_lut_to_dense(indices=uint4[8, 4], lut=fp16[1, 1, 16, 1])
    →  %m: uint1[8, 4], %k: fp16[D] = constexpr_lut_to_sparse(indices_mask=uint1[8, 4], indices_nonzero_data=uint4[D], lut=…)
       %w: fp16[8, 4] = constexpr_sparse_to_dense(nonzero_data=%k, mask=%m)

Magnitudes are those of the decoded elements. Vectors of a table are kept or go as a whole.
"""

from __future__ import annotations

from functools import partial

from attrs import evolve

from ir.packing import packed_size
from ir.tensors import AbstractTensor, Tensor
from ir.types import UINT1
from mlpasses.candidates import Candidate
from mlpasses.compress.joint import row_of
from mlpasses.compress.prune_codes_job import PruneCodesJob, mask_shape
from mlpasses.compress.prune_layout import Bounds, channels_axis, fewest_zeros, kept_bounds, left_over
from mlpasses.compress.weight_pass import Proposal
from mlpasses.config.prune import Magnitude, PruneConfig, Threshold
from mlpasses.errors import ConfigError
from mlpasses.forms.form import Form, Indexed, codes_of, with_codes
from mlpasses.numerics.affine import channel_view


def pruned_codes(candidate: Candidate, form: Form, config: PruneConfig) -> Proposal | str:
    """What pruning would make of a compressed weight, or why it leaves it alone.

    Raises:
        ConfigError: parts of vectors would go, which no form can say.
    """
    axis = channels_axis(candidate, config)
    if isinstance(axis, str):
        return axis
    vector = _check_vectors(form, axis, config)
    view, codes = channel_view(candidate.shape, axis), codes_of(form)
    if form.mask is None:
        bounds = kept_bounds(view, codes.dtype.bits, config) if vector == 1 else _vector_bounds(candidate.numel // vector, form, config)
        if isinstance(bounds, str):
            return bounds
    else:
        zeros = fewest_zeros(view, config) or 0
        most = max(1, min(codes.shape[0], (candidate.numel - zeros) // vector))
        bounds = Bounds(most, "how many of the elements that are kept become zero", may_stay=most == codes.shape[0])
    shape = mask_shape(form, candidate.shape)
    mask = AbstractTensor(UINT1, shape)
    joint = with_codes(form, AbstractTensor(codes.dtype, (bounds.most,)), mask)
    least = joint.nbytes(candidate.opset) - packed_size(bounds.most, codes.dtype.bits) + packed_size(1, codes.dtype.bits)
    job = PruneCodesJob(candidate.name, form, view, candidate.shape, config, candidate.nbytes)
    key = (form, axis, config)
    since = row_of(form, "prune").since
    return Proposal(
        candidate, config, key, joint, job, partial(_finished, form), least, bounds.why, bounds.may_stay, left_over(view, config), since
    )  # fmt: skip


def _finished(form: Form, tensors: dict[str, Tensor]) -> Form:
    return with_codes(form, tensors["codes"], tensors["mask"])


def _vector_bounds(count: int, form: Form, config: PruneConfig) -> Bounds | str:
    """`kept_bounds` of vectors, of which as many go as of elements would."""
    each = evolve(config, block_size=None) if isinstance(config, Magnitude) else config
    return kept_bounds((1, count, 1), codes_of(form).dtype.bits, each)


def _check_vectors(form: Form, axis: int | None, config: PruneConfig) -> int:
    """The length of the vectors of a form's table, 1 where there are none."""
    values = form.values
    if not isinstance(values, Indexed) or values.vector_axis is None:
        return 1
    vector = values.tables[-1]
    whole = isinstance(config, Magnitude) and config.block_size == vector and axis == values.vector_axis
    if whole or (isinstance(config, Threshold) and not config.threshold):
        return vector
    raise ConfigError(
        f"its table has vectors of {vector} elements along axis {values.vector_axis}, which are kept or become zero as a whole: prune with "
        f'Magnitude(block_size={vector}, dim="output"), or before PalettizeWeights'
    )
