"""`crop_resize`, whose regions iOS17 took apart into boxes and the images that they belong to."""

from __future__ import annotations

import numpy as np

from ir.core import Op, Operand
from ir.types import INT32
from mlpasses.raising.function import InexpressibleError, Raising, other_attributes, required, tensor_type


def split_roi(raising: Raising, op: Op) -> Op:
    """Regions with an index of their image, and regions that are cut from each of the B images:

        crop_resize(x, roi: [N, 1, 5, 1, 1]): [N, 1, C, h, w]
        → r = squeeze(roi, axes=[1, 3, 4])
          expand_dims(crop_resize(x, boxes=r[:, 1:], box_indices=cast(r[:, 0], "int32")), axes=[1])

        crop_resize(x, roi: [N, 1, 4, 1, 1]): [N, B, C, h, w]
        → r = squeeze(roi, axes=[1, 3, 4])
          boxes[n, b] = r[n];  box_indices[n, b] = b
          reshape(crop_resize(x, boxes=reshape(boxes, [-1, 4]), box_indices=reshape(box_indices, [-1])), [-1, B, C, h, w])

    Raises:
        InexpressibleError: it is not known which of the two forms the regions have, or how many images there are for the second; or the
            result of the first is declared to have several crops a region.
    """
    roi, x = required(op, "roi"), required(op, "x")
    shape = tensor_type(roi, "roi").shape
    if len(shape) != 5 or shape[2] not in (4, 5):
        raise InexpressibleError(
            f"its roi is of type {roi.type!r}: whether its regions name their image (5 numbers) or not (4) has to be known"
        )
    name = op.output.name
    regions = raising.emit(op, "squeeze", f"{name}_regions", x=roi, axes=(1, 3, 4))
    crops = _crop_named(raising, op, regions) if shape[2] == 5 else _crop_each(raising, op, regions, x)
    op.erase()
    return raising.changes(crops)


def _crop_named(raising: Raising, op: Op, regions: Op) -> Op:
    name, declared = op.output.name, tensor_type(op.output, "result")
    if len(declared.shape) == 5 and isinstance(declared.shape[1], int) and declared.shape[1] != 1:
        raise InexpressibleError(
            f"its regions name their image, so there is one crop for each, and its result is declared as {declared!r}: "
            "declare 1 as its dimension 1, and the results that depend on it accordingly"
        )
    boxes = raising.emit(
        op, "slice_by_index", f"{name}_boxes",
        x=regions, begin=(0, 1), end=(0, 5), begin_mask=(True, False), end_mask=(True, False),
    )  # fmt: skip
    images = raising.emit(
        op, "slice_by_index", f"{name}_images",
        x=regions, begin=(0, 0), end=(0, 1), begin_mask=(True, False), end_mask=(True, False), squeeze_mask=(False, True),
    )  # fmt: skip
    crops = _crop(raising, op, boxes, raising.emit(op, "cast", f"{name}_box_indices", x=images, dtype="int32"))
    raising.succeed(op, op.output, "expand_dims", x=crops, axes=(1,))
    return crops


def _crop_each(raising: Raising, op: Op, regions: Op, x: Operand) -> Op:
    name = op.output.name
    images = tensor_type(x, "x").shape[0] if tensor_type(x, "x").rank == 4 else None
    if not isinstance(images, int):
        raise InexpressibleError(
            f"its regions are to be cut from every image of x, of type {x.type!r}, and the number of images is not known: "
            "give the regions the index of their image"
        )
    dtype = tensor_type(regions.output, "roi").dtype
    column = raising.emit(op, "expand_dims", f"{name}_column", x=regions, axes=(1,))
    row = raising.const(op, np.zeros((1, images, 1), dtype.numpy), f"{name}_row")
    repeated = raising.emit(op, "add", f"{name}_repeated", x=column, y=row)
    boxes = raising.emit(op, "reshape", f"{name}_boxes", x=repeated, shape=(-1, 4))
    first = raising.emit(
        op, "slice_by_index", f"{name}_first", x=regions, begin=(0, 0), end=(0, 1), begin_mask=(True, False), end_mask=(True, False)
    )
    zeros = raising.emit(op, "fill_like", f"{name}_zeros", ref_tensor=first, value=0)
    numbered = raising.emit(op, "add", f"{name}_numbered", x=zeros, y=np.arange(images, dtype=INT32.numpy)[None])
    crops = _crop(raising, op, boxes, raising.emit(op, "reshape", f"{name}_box_indices", x=numbered, shape=(-1,)))
    _, *image = tensor_type(crops.output, "crops").shape
    shape = [-1, images, *(d if isinstance(d, int) else 0 for d in image)]  # a 0 is matched from the right: with C, h or w
    raising.succeed(op, op.output, "reshape", x=crops, shape=shape)
    return crops


def _crop(raising: Raising, op: Op, boxes: Op, box_indices: Op) -> Op:
    """The op over boxes, in front of the one over regions."""
    kept = {name: held for name, held in op.operands.items() if name != "roi"}
    return raising.emit(
        op, op.op_type, f"{op.output.name}_crops", attributes=other_attributes(op), boxes=boxes, box_indices=box_indices, **kept
    )
