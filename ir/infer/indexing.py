"""Result types (being written)."""

from __future__ import annotations

from ir.infer.args import Args, InferError
from ir.types import Type


def argsort(args: Args) -> tuple[Type, ...]:
    raise InferError("argsort: result types are not inferred yet")


def as_data(args: Args) -> tuple[Type, ...]:
    raise InferError("as_data: result types are not inferred yet")


def gather(args: Args) -> tuple[Type, ...]:
    raise InferError("gather: result types are not inferred yet")


def gather_along_axis(args: Args) -> tuple[Type, ...]:
    raise InferError("gather_along_axis: result types are not inferred yet")


def gather_nd(args: Args) -> tuple[Type, ...]:
    raise InferError("gather_nd: result types are not inferred yet")


def non_maximum_suppression(args: Args) -> tuple[Type, ...]:
    raise InferError("non_maximum_suppression: result types are not inferred yet")


def non_maximum_suppression_transposed(args: Args) -> tuple[Type, ...]:
    raise InferError("non_maximum_suppression_transposed: result types are not inferred yet")


def non_zero(args: Args) -> tuple[Type, ...]:
    raise InferError("non_zero: result types are not inferred yet")


def one_hot(args: Args) -> tuple[Type, ...]:
    raise InferError("one_hot: result types are not inferred yet")


def topk(args: Args) -> tuple[Type, ...]:
    raise InferError("topk: result types are not inferred yet")
