"""What a scheme makes of a weight that is compressed already: one table, from the form that is there and the scheme to the form that comes.

Most pairs of schemes have no legal form in between (a LUT over a sparse weight would need an entry more, for zero), so the joint form is
made at once, by whichever pass comes second. The order of passes does not change what can be expressed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from attrs import frozen

from ir.opset import IOS16, IOS18, Opset
from mlpasses.forms.form import Floats, Form, Scaled

Scheme: TypeAlias = Literal["prune", "quantize", "palettize"]
Kind: TypeAlias = Literal["floats", "integers", "indices", "indices of integers", "scaled indices", "scaled indices of integers"]
"""What the values of a form are, masked or not: floats, integers with scales, or indices; and those of what, with a scale behind or not."""


@frozen
class Row:
    """One entry of the table."""

    becomes: Kind | None
    """What the values are then; None where no form can say it."""
    source: str
    """Who writes such a form, or says of it; or, where there is none, what may be done instead."""
    since: Opset = IOS18


def kind_of(form: Form) -> Kind:
    """What the values of a form are."""
    values = form.values
    if isinstance(values, Floats):
        return "floats"
    if isinstance(values, Scaled):
        return "integers"
    entries = values.entries
    if isinstance(entries, Scaled) and entries.data.dtype.is_integer:
        return "indices of integers" if form.scale is None else "scaled indices of integers"
    if entries.dtype.is_integer:  # the scale behind is theirs
        return "indices of integers"
    return "indices" if form.scale is None else "scaled indices"


def row_of(form: Form, scheme: Scheme) -> Row:
    """What a scheme makes of a form."""
    return TABLE[kind_of(form), scheme]


_PRUNED: Final = "the docs of constexpr_lut_to_sparse and constexpr_sparse_blockwise_shift_scale; coremltools, pruning first"
_CHAINED: Final = "the docs of these ops, which may follow one another; coremltools loads and decodes it, and writes none"
_ANEW: Final = "put DecompressWeights before, to compress it anew"

TABLE: Final[Mapping[tuple[Kind, Scheme], Row]] = {
    ("floats", "prune"): Row("floats", "the docs of constexpr_sparse_to_dense", IOS16),
    ("integers", "prune"): Row("integers", _PRUNED),
    ("indices", "prune"): Row("indices", _PRUNED),
    ("indices of integers", "prune"): Row("indices of integers", _PRUNED),
    ("scaled indices", "prune"): Row("scaled indices", _CHAINED),
    ("scaled indices of integers", "prune"): Row("scaled indices of integers", _CHAINED),
    ("floats", "quantize"): Row("integers", "coremltools: prune_weights, then linear_quantize_weights with joint_compression"),
    ("indices", "quantize"): Row(
        "indices of integers", "coremltools: palettize_weights, then linear_quantize_weights with joint_compression"
    ),
    ("scaled indices", "quantize"): Row("scaled indices of integers", _CHAINED),
    ("floats", "palettize"): Row("indices", "coremltools: prune_weights, then palettize_weights with joint_compression"),
    ("integers", "palettize"): Row(
        "indices of integers", "coremltools: linear_quantize_weights, then palettize_weights with joint_compression"
    ),
    ("integers", "quantize"): Row(None, _ANEW),
    ("indices of integers", "quantize"): Row(None, _ANEW),
    ("scaled indices of integers", "quantize"): Row(None, _ANEW),
    ("indices", "palettize"): Row(None, _ANEW),
    ("indices of integers", "palettize"): Row(None, _ANEW),
    ("scaled indices", "palettize"): Row(None, _ANEW),
    ("scaled indices of integers", "palettize"): Row(None, _ANEW),
}
"""The legality matrix, by what the values are; a mask is kept by every scheme, and made by pruning. Forms are iOS18's: see
`mlpasses.forms.canonical` for how each opset writes them."""
