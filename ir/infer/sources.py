"""Result types (being written)."""

from __future__ import annotations

from ir.infer.args import Args, InferError
from ir.types import Type


def as_list(args: Args) -> tuple[Type, ...]:
    raise InferError("as_list: result types are not inferred yet")


def classify(args: Args) -> tuple[Type, ...]:
    raise InferError("classify: result types are not inferred yet")


def const(args: Args) -> tuple[Type, ...]:
    raise InferError("const: result types are not inferred yet")


def fill(args: Args) -> tuple[Type, ...]:
    raise InferError("fill: result types are not inferred yet")


def fill_like(args: Args) -> tuple[Type, ...]:
    raise InferError("fill_like: result types are not inferred yet")


def list_gather(args: Args) -> tuple[Type, ...]:
    raise InferError("list_gather: result types are not inferred yet")


def list_length(args: Args) -> tuple[Type, ...]:
    raise InferError("list_length: result types are not inferred yet")


def list_read(args: Args) -> tuple[Type, ...]:
    raise InferError("list_read: result types are not inferred yet")


def make_list(args: Args) -> tuple[Type, ...]:
    raise InferError("make_list: result types are not inferred yet")


def random_bernoulli(args: Args) -> tuple[Type, ...]:
    raise InferError("random_bernoulli: result types are not inferred yet")


def random_categorical(args: Args) -> tuple[Type, ...]:
    raise InferError("random_categorical: result types are not inferred yet")


def random_normal(args: Args) -> tuple[Type, ...]:
    raise InferError("random_normal: result types are not inferred yet")


def random_uniform(args: Args) -> tuple[Type, ...]:
    raise InferError("random_uniform: result types are not inferred yet")


def range_1d(args: Args) -> tuple[Type, ...]:
    raise InferError("range_1d: result types are not inferred yet")


def read_state(args: Args) -> tuple[Type, ...]:
    raise InferError("read_state: result types are not inferred yet")


def shape(args: Args) -> tuple[Type, ...]:
    raise InferError("shape: result types are not inferred yet")


def while_loop(args: Args) -> tuple[Type, ...]:
    raise InferError("while_loop: result types are not inferred yet")


def write_state(args: Args) -> tuple[Type, ...]:
    raise InferError("write_state: result types are not inferred yet")
