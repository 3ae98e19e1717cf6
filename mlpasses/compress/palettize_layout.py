"""How a weight is divided for its tables."""

from __future__ import annotations

import math

from attrs import frozen

from ir.core import Op, constant_of
from ir.types import DType
from mlpasses.candidates import Candidate, output_axis
from mlpasses.compress.blocks import Division, divided, largest_divisor, whole
from mlpasses.config.palettize import Palettize
from mlpasses.errors import ConfigError
from mlpasses.numerics.affine import View


@frozen
class Layout:
    """How a weight is divided for its tables."""

    axis: int
    """The output channels' axis, along which groups and vectors lie."""
    vector: int
    """Elements that an index stands for."""
    groups: tuple[int, ...]
    """Groups on each axis, for each of which entries are chosen."""
    tables: tuple[int, ...]
    """Tables on each axis: those of the groups, or of the channels where scales are multiplied into them."""
    channels: tuple[int, ...]
    """Channels on each axis: the shape of a scale for each of them."""
    stored: DType
    """The type of the entries."""
    widths: tuple[int, ...]
    """The bits that an index may have, in order; several where the data decide."""

    @property
    def vector_axis(self) -> int | None:
        """The axis that vectors lie along; None where an index stands for one element."""
        return self.axis if self.vector > 1 else None

    def indices(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the indices of a weight."""
        return tuple(dim // self.vector if at == self.axis else dim for at, dim in enumerate(shape))

    def view(self, shape: tuple[int, ...]) -> View:
        """The shape of a weight as `[outer, groups, inner]`, where each entry of the middle axis has a table."""
        groups = math.prod(self.groups)
        if groups == 1:
            return 1, 1, math.prod(shape)
        return math.prod(shape[: self.axis]), groups, math.prod(shape[self.axis :]) // groups


def unsettled(widths: int, config: Palettize) -> str:
    """What it depends on which of so many widths indices have, or whether there are any; nothing where it depends on nothing."""
    if widths > 1:
        return "it depends on the number of distinct values how many bits do"
    return "with more distinct values than a table has places it stays as it is" if config.mode == "unique" else ""


def layout_of(candidate: Candidate, config: Palettize) -> tuple[Layout, str] | str:
    """How the weight is divided, and what of it is not as asked for; or why it cannot be."""
    shape = candidate.shape
    stored = config.stored(candidate.dtype)
    if config.group_size is None and config.cluster_dim == 1 and config.per_channel_scale == "none":
        one = (1,) * len(shape)
        return Layout(0, 1, one, one, one, stored, config.widths), ""
    axis = output_axis(candidate, config.axis)
    if isinstance(axis, str):
        return axis
    vector = _vector(candidate, axis, config)
    if isinstance(vector, str):
        return vector
    groups = _groups(shape, axis, vector, config)
    if isinstance(groups, str):
        return groups
    channels = tuple(dim if at == axis else 1 for at, dim in enumerate(shape))
    tables = channels if config.per_channel_scale == "folded" else groups.counts
    if vector > 1 and config.per_channel_scale == "folded":
        return 'per_channel_scale="folded" would need a table for each channel, and vectors lie along the channels: chain the scale'
    remarks = [groups.remark] if groups.remark else []
    if vector != config.cluster_dim:
        remarks.append(f"cluster_dim is {vector}, the largest divisor of what is there")
    return Layout(axis, vector, groups.counts, tables, channels, stored, config.widths), "; ".join(remarks)


def _groups(shape: tuple[int, ...], axis: int, vector: int, config: Palettize) -> Division | str:
    one = whole(len(shape))
    if config.group_size is None:
        return one
    size = min(config.group_size, shape[axis])
    if size % vector:
        return f"group_size={size} is not divided by cluster_dim={vector}"
    groups = divided(one, shape, axis, size, config.indivisible, "group_size")
    if isinstance(groups, Division) and (shape[axis] // groups.counts[axis]) % vector:
        return f"{groups.remark}, and is not divided by cluster_dim={vector}"
    return groups


def _vector(candidate: Candidate, axis: int, config: Palettize) -> int | str:
    """The length of the vectors along an axis, in each group of channels that a convolution treats by itself."""
    dim = candidate.shape[axis]
    for use in candidate.uses:
        user = use.user
        operand = user.get("groups") if isinstance(user, Op) and axis == 0 and user.op_type in ("conv", "conv_transpose") else None
        groups = None if operand is None else constant_of(operand)
        if groups is not None:
            dim = math.gcd(dim, candidate.shape[axis] // max(1, int(groups.item())))
    if dim % config.cluster_dim == 0:
        return config.cluster_dim
    found = f"the {dim} channels of its axis {axis} are not divided by cluster_dim={config.cluster_dim}"
    if config.indivisible == "error":
        raise ConfigError(f'{found}: choose another, or leave it alone with indivisible="skip"')
    if config.indivisible == "skip":
        return found
    return largest_divisor(dim, config.cluster_dim)
