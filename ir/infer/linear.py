"""Result types (being written)."""

from __future__ import annotations

from ir.infer.args import Args, InferError
from ir.types import Type


def attention(args: Args) -> tuple[Type, ...]:
    raise InferError("attention: result types are not inferred yet")


def einsum(args: Args) -> tuple[Type, ...]:
    raise InferError("einsum: result types are not inferred yet")


def linear(args: Args) -> tuple[Type, ...]:
    raise InferError("linear: result types are not inferred yet")


def matmul(args: Args) -> tuple[Type, ...]:
    raise InferError("matmul: result types are not inferred yet")
