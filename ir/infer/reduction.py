"""Result types (being written)."""

from __future__ import annotations

from ir.infer.args import Args, InferError
from ir.types import Type


def arg_reduce(args: Args) -> tuple[Type, ...]:
    raise InferError("arg_reduce: result types are not inferred yet")


def reduce(args: Args) -> tuple[Type, ...]:
    raise InferError("reduce: result types are not inferred yet")
