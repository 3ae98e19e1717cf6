"""Result types (being written)."""

from __future__ import annotations

from ir.infer.args import Args, InferError
from ir.types import Type


def lstm(args: Args) -> tuple[Type, ...]:
    raise InferError("lstm: result types are not inferred yet")


def rnn(args: Args) -> tuple[Type, ...]:
    raise InferError("rnn: result types are not inferred yet")
