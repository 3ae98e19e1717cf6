"""Result types (being written)."""

from __future__ import annotations

from ir.infer.args import Args, InferError
from ir.types import Type


def conv(args: Args) -> tuple[Type, ...]:
    raise InferError("conv: result types are not inferred yet")


def conv_transpose(args: Args) -> tuple[Type, ...]:
    raise InferError("conv_transpose: result types are not inferred yet")


def pool(args: Args) -> tuple[Type, ...]:
    raise InferError("pool: result types are not inferred yet")
