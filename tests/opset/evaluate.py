"""The ops whose definition changed, and those that they are rewritten to, in NumPy: plain loops, both definitions side by side.

From iOS17 on a negative index is an `IndexError`, so that a value that comes out equal also proves that none was left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from ir.core import Function, Op, constant_of
from ir.opset import IOS17, Opset, opset_of_key
from ir.types import DTYPE_BY_NAME

Array: TypeAlias = npt.NDArray[Any]
Operands: TypeAlias = dict[str, Any]


def evaluate(function: Function, inputs: Mapping[str, Array]) -> list[Array]:
    """The outputs of a function without nested blocks."""
    opset = opset_of_key(function.opset)
    assert opset is not None
    known: dict[Any, Array] = {value: inputs[value.name] for value in function.inputs}
    for op in function.body:
        if op.op_type == "const":
            continue
        given: Operands = {}
        for name, held in op.operands.items():
            values = [literal.numpy() if (literal := constant_of(operand)) is not None else known[operand] for operand in held]
            given[name] = values if name == "values" else values[0].item() if values[0].ndim == 0 and name in SCALARS else values[0]
        for value, result in zip(op.outputs, _run(op, opset, given), strict=False):
            known[value] = np.asarray(result)
    return [known[value] for value in function.outputs]


SCALARS: Final = frozenset(
    {
        "axis", "batch_dims", "mode", "k", "ascending", "sort", "return_indices", "keep_dims", "target_height",
        "target_width", "normalized_coordinates", "spatial_scale", "box_coordinate_mode", "sampling_mode",
        "pad_value", "iou_threshold", "score_threshold", "max_boxes", "dtype", "output_dtype", "alpha", "beta",
        "value",
    }
)
"""Parameters that are one number, and that the kernels take as such."""


def _run(op: Op, opset: Opset, given: Operands) -> tuple[Any, ...]:
    indexed = KERNELS_WITH_INDICES.get(op.op_type)
    if indexed is not None:
        if opset >= IOS17 and (given["indices"] < 0).any():
            raise IndexError(f"{op.op_type} {op.name} has negative indices in {opset}")
        return (indexed(given),)
    if op.op_type == "non_maximum_suppression":
        return _suppress(given) if opset < IOS17 else _suppress_transposed(given)
    if op.op_type == "crop_resize":
        return (_crop_regions(given) if opset < IOS17 else _crop_boxes(given),)
    if op.op_type == "clip" and opset >= IOS17:
        assert given["alpha"] < given["beta"]
    result = KERNELS[op.op_type](given)
    return result if isinstance(result, tuple) else (result,)


def _gather(g: Operands) -> Array:
    x, indices, axis, batch = g["x"], g["indices"], g.get("axis", 0), g.get("batch_dims", 0)
    axis %= x.ndim
    if batch == 0:
        return np.asarray(np.take(x, indices, axis=axis))
    common = x.shape[:batch]
    parts = [np.take(x[at], indices[at], axis=axis - batch) for at in np.ndindex(common)]
    return np.stack(parts).reshape(*common, *parts[0].shape)


def _gather_nd(g: Operands) -> Array:
    x, indices, batch = g["x"], g["indices"], g.get("batch_dims", 0)
    parts = [x[at][tuple(np.moveaxis(indices[at], -1, 0))] for at in np.ndindex(x.shape[:batch])]
    return np.stack(parts).reshape(*x.shape[:batch], *parts[0].shape)


def _update(g: Operands, at: Any) -> Array:
    result = g["data"].copy()
    if g.get("mode", "add") == "add":
        np.add.at(result, at, g["updates"])
    else:
        result[at] = g["updates"]
    return np.asarray(result)


def _scatter(g: Operands) -> Array:
    axis = g.get("axis", 0) % g["data"].ndim
    return _update(g, (*([slice(None)] * axis), g["indices"]))


def _scatter_along_axis(g: Operands) -> Array:
    at: list[Any] = list(np.ogrid[tuple(slice(d) for d in g["indices"].shape)])
    at[g.get("axis", 0)] = g["indices"]
    return _update(g, tuple(at))


KERNELS_WITH_INDICES: Final[Mapping[str, Callable[[Operands], Array]]] = {
    "gather": _gather,
    "gather_along_axis": lambda g: np.take_along_axis(g["x"], g["indices"].astype(np.int64), g.get("axis", 0)),
    "gather_nd": _gather_nd,
    "scatter": _scatter,
    "scatter_along_axis": _scatter_along_axis,
    "scatter_nd": lambda g: _update(g, tuple(np.moveaxis(g["indices"], -1, 0))),
}


def _slice(g: Operands) -> Array:
    rank = g["x"].ndim
    no = np.zeros(rank, bool)
    begin_mask, end_mask, squeeze = (g.get(name, no) for name in ("begin_mask", "end_mask", "squeeze_mask"))
    at: list[Any] = []
    for i in range(rank):
        begin, end = int(g["begin"][i]), int(g["end"][i])
        at.append(begin if squeeze[i] else slice(None if begin_mask[i] else begin, None if end_mask[i] else end))
    return np.asarray(g["x"][tuple(at)])


def _topk(g: Operands) -> tuple[Array, ...]:
    x, axis, k = g["x"], g.get("axis", -1), g.get("k", 1)
    order = np.argsort(x if g.get("ascending", False) else -x, axis=axis, kind="stable")
    indices = np.take(order, range(k), axis=axis)
    values = np.take_along_axis(x, indices, axis)
    return (values, indices.astype(np.int32)) if g.get("return_indices", True) else (values,)


def _arg(find: Callable[..., Array]) -> Callable[[Operands], Array]:
    return lambda g: find(g["x"], axis=g.get("axis", -1), keepdims=g.get("keep_dims", False)).astype(g.get("output_dtype", "int32"))


def _cast(g: Operands) -> Array:
    return np.asarray(g["x"].astype(DTYPE_BY_NAME[g["dtype"]].numpy))


def _reshape(g: Operands) -> Array:
    """Without zeros, or with as many dimensions as x: there both definitions agree."""
    x, shape = g["x"], [int(d) for d in g["shape"]]
    if 0 in shape:
        offset = len(shape) - x.ndim
        shape = [x.shape[i - offset] if d == 0 else d for i, d in enumerate(shape)]
    return np.asarray(x.reshape(shape))


KERNELS: Final[Mapping[str, Callable[[Operands], Any]]] = {
    "add": lambda g: g["x"] + g["y"],
    "cast": _cast,
    "clip": lambda g: np.minimum(np.maximum(g["x"], g["alpha"]), g["beta"]).astype(g["x"].dtype),
    "expand_dims": lambda g: np.expand_dims(g["x"], tuple(int(a) for a in g["axes"])),
    "fill_like": lambda g: np.full(g["ref_tensor"].shape, g["value"], np.asarray(g["value"]).dtype if g["value"] else np.int32),
    "greater_equal": lambda g: g["x"] >= g["y"],
    "less": lambda g: g["x"] < g["y"],
    "maximum": lambda g: np.maximum(g["x"], g["y"]),
    "minimum": lambda g: np.minimum(g["x"], g["y"]),
    "mul": lambda g: g["x"] * g["y"],
    "reduce_argmax": _arg(np.argmax),
    "reduce_argmin": _arg(np.argmin),
    "relu": lambda g: np.maximum(g["x"], 0),
    "reshape": _reshape,
    "select": lambda g: np.where(g["cond"], g["a"], g["b"]),
    "shape": lambda g: np.array(g["x"].shape, np.int32),
    "sigmoid": lambda g: 1 / (1 + np.exp(-g["x"])),
    "slice_by_index": _slice,
    "slice_by_size": lambda g: g["x"][tuple(slice(int(b), int(b + s)) for b, s in zip(g["begin"], g["size"], strict=True))],
    "squeeze": lambda g: np.squeeze(g["x"], tuple(int(a) for a in g["axes"])),
    "topk": _topk,
    "transpose": lambda g: np.transpose(g["x"], g["perm"]),
}


def _crop_one(image: Array, box: Array, g: Operands) -> Array:
    """Corners aligned, height first, not normalized: bilinear samples at equal steps from corner to corner."""
    assert g.get("sampling_mode") == "ALIGN_CORNERS"
    top, left, bottom, right = (float(v) for v in box)
    ys, xs = np.linspace(top, bottom, g["target_height"]), np.linspace(left, right, g["target_width"])
    y0, x0 = np.floor(ys).astype(int), np.floor(xs).astype(int)
    y1, x1 = np.minimum(y0 + 1, image.shape[1] - 1), np.minimum(x0 + 1, image.shape[2] - 1)
    fy, fx = (ys - y0)[:, None], xs - x0

    def at(rows: Array, columns: Array) -> Array:
        return np.asarray(image[:, rows][:, :, columns])

    upper = at(y0, x0) * (1 - fx) + at(y0, x1) * fx
    lower = at(y1, x0) * (1 - fx) + at(y1, x1) * fx
    return np.asarray(upper * (1 - fy) + lower * fy, image.dtype)


def _crop_regions(g: Operands) -> Array:
    x, regions = g["x"], g["roi"][:, 0, :, 0, 0]
    if regions.shape[1] == 5:
        return np.stack([_crop_one(x[int(r[0])], r[1:], g)[None] for r in regions])
    return np.stack([np.stack([_crop_one(image, r, g) for image in x]) for r in regions])


def _crop_boxes(g: Operands) -> Array:
    return np.stack([_crop_one(g["x"][int(i)], box, g) for box, i in zip(g["boxes"], g["box_indices"], strict=True)])


def _overlap(a: Array, b: Array) -> float:
    """Intersection over union of boxes (x, y, width, height) around their centres."""
    low = np.maximum(a[:2] - a[2:] / 2, b[:2] - b[2:] / 2)
    high = np.minimum(a[:2] + a[2:] / 2, b[:2] + b[2:] / 2)
    inside = float(np.prod(np.maximum(high - low, 0)))
    return inside / (float(np.prod(a[2:])) + float(np.prod(b[2:])) - inside)


def _suppress(g: Operands) -> tuple[Array, ...]:
    boxes, scores, most = g["boxes"], g["scores"], g["max_boxes"]
    picked_boxes = np.zeros((len(boxes), most, 4), boxes.dtype)
    picked_scores = np.zeros((len(boxes), most, scores.shape[2]), scores.dtype)
    indices = np.full((len(boxes), most), -1, np.int32)
    counts = np.zeros(len(boxes), np.int32)
    for n in range(len(boxes)):
        best = scores[n].max(axis=-1)
        for i in np.argsort(-best, kind="stable"):
            kept = indices[n, : counts[n]]
            if counts[n] == most or best[i] < g.get("score_threshold", -np.inf):
                break
            if all(_overlap(boxes[n, i], boxes[n, j]) <= g["iou_threshold"] for j in kept):
                at = counts[n]
                indices[n, at], picked_boxes[n, at], picked_scores[n, at] = i, boxes[n, i], scores[n, i]
                counts[n] += 1
    return picked_boxes, picked_scores, indices, counts


def _suppress_transposed(g: Operands) -> tuple[Array, ...]:
    assert "score_threshold" not in g
    straight = {**g, "boxes": np.transpose(g["boxes"], (0, 2, 1)), "scores": np.transpose(g["scores"], (0, 2, 1))}
    boxes, scores, indices, _ = _suppress(straight)
    return np.transpose(boxes, (0, 2, 1)), np.transpose(scores, (0, 2, 1)), indices
