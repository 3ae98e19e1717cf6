"""Result types (being written)."""

from __future__ import annotations

from ir.infer.args import Args, InferError
from ir.types import Type


def as_x(args: Args) -> tuple[Type, ...]:
    raise InferError("as_x: result types are not inferred yet")


def binary(args: Args) -> tuple[Type, ...]:
    raise InferError("binary: result types are not inferred yet")


def cast(args: Args) -> tuple[Type, ...]:
    raise InferError("cast: result types are not inferred yet")


def comparison(args: Args) -> tuple[Type, ...]:
    raise InferError("comparison: result types are not inferred yet")


def dequantize(args: Args) -> tuple[Type, ...]:
    raise InferError("dequantize: result types are not inferred yet")


def quantize(args: Args) -> tuple[Type, ...]:
    raise InferError("quantize: result types are not inferred yet")


def select(args: Args) -> tuple[Type, ...]:
    raise InferError("select: result types are not inferred yet")
