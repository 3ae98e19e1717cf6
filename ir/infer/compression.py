"""Result types (being written)."""

from __future__ import annotations

from ir.infer.args import Args, InferError
from ir.types import Type


def affine_dequantize(args: Args) -> tuple[Type, ...]:
    raise InferError("affine_dequantize: result types are not inferred yet")


def blockwise_shift_scale(args: Args) -> tuple[Type, ...]:
    raise InferError("blockwise_shift_scale: result types are not inferred yet")


def cast(args: Args) -> tuple[Type, ...]:
    raise InferError("cast: result types are not inferred yet")


def lut_to_dense(args: Args) -> tuple[Type, ...]:
    raise InferError("lut_to_dense: result types are not inferred yet")


def lut_to_sparse(args: Args) -> tuple[Type, ...]:
    raise InferError("lut_to_sparse: result types are not inferred yet")


def packed_lut_to_dense(args: Args) -> tuple[Type, ...]:
    raise InferError("packed_lut_to_dense: result types are not inferred yet")


def packed_sparse_to_dense(args: Args) -> tuple[Type, ...]:
    raise InferError("packed_sparse_to_dense: result types are not inferred yet")


def sparse_blockwise_shift_scale(args: Args) -> tuple[Type, ...]:
    raise InferError("sparse_blockwise_shift_scale: result types are not inferred yet")


def sparse_to_dense(args: Args) -> tuple[Type, ...]:
    raise InferError("sparse_to_dense: result types are not inferred yet")
