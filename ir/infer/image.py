"""Result types (being written)."""

from __future__ import annotations

from ir.infer.args import Args, InferError
from ir.types import Type


def affine(args: Args) -> tuple[Type, ...]:
    raise InferError("affine: result types are not inferred yet")


def crop(args: Args) -> tuple[Type, ...]:
    raise InferError("crop: result types are not inferred yet")


def crop_resize_boxes(args: Args) -> tuple[Type, ...]:
    raise InferError("crop_resize_boxes: result types are not inferred yet")


def crop_resize_roi(args: Args) -> tuple[Type, ...]:
    raise InferError("crop_resize_roi: result types are not inferred yet")


def resample(args: Args) -> tuple[Type, ...]:
    raise InferError("resample: result types are not inferred yet")


def resize(args: Args) -> tuple[Type, ...]:
    raise InferError("resize: result types are not inferred yet")


def resize_to_target(args: Args) -> tuple[Type, ...]:
    raise InferError("resize_to_target: result types are not inferred yet")


def upsample(args: Args) -> tuple[Type, ...]:
    raise InferError("upsample: result types are not inferred yet")
