"""Recurrent layers over `[sequence, batch, input]`."""

from __future__ import annotations

from ir.infer import dims
from ir.infer.args import Args
from ir.types import Dim, TensorType, Type


def rnn(args: Args) -> tuple[Type, ...]:
    """The sequence of states, or the last one, `[s, b, h]`; and the last state `[b, h]`. For `rnn` and `gru`."""
    if args.text("direction") not in ("forward", "reverse"):
        raise args.error(f"'direction' has to be forward or reverse, not {args.text('direction')!r}")
    return _results(args, 1, 1)


def lstm(args: Args) -> tuple[Type, ...]:
    """The sequence of states, or the last one, `[s, b, h * directions]`; the last state, and the last cell `[b, h * directions]`."""
    directions = {"forward": 1, "reverse": 1, "bidirectional": 2}.get(args.text("direction"))
    if directions is None:
        raise args.error(f"'direction' has to be forward, reverse or bidirectional, not {args.text('direction')!r}")
    if directions == 2 and not (args.has("weight_ih_back") and args.has("weight_hh_back")):
        raise args.error("a bidirectional lstm needs 'weight_ih_back' and 'weight_hh_back'")
    return _results(args, directions, 2)


def _results(args: Args, directions: int, states: int) -> tuple[Type, ...]:
    length, batch, in_ = dims.ranked(args, "x", 3)
    dims.unify(args, "the input size of 'x' and 'weight_ih'", in_, dims.ranked(args, "weight_ih", 2)[1])
    hidden: Dim = dims.times(dims.ranked(args, "weight_hh", 2)[1], directions)
    dtype = args.dtype("x")
    sequence = TensorType(dtype, (length if args.truth("output_sequence") else 1, batch, hidden))
    return (sequence, *(TensorType(dtype, (batch, hidden)),) * states)
