"""Builds keyword-spotter.mlpackage: a small convolutional network that tells 35 spoken words apart.

    python docs/examples/build_model.py [OUT]

One second of sound as 98 frames of 40 log-mel bands goes through a convolution with batch normalization, seven depthwise-separable
blocks (three of them residual), a mean over time and frequency, and a linear classifier: the shape of DS-CNN (Zhang et al., "Hello Edge",
2017). It is written as converters write one today: iOS16, float16 inside, float32 at the interface. The weights are random, drawn as
trained ones are distributed (normal within a channel, log-normal over channels, a few outliers), always the same.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ir.builder import FunctionBuilder, build_program
from ir.core import Op, Program, Value
from ir.opset import IOS16
from ir.types import FP32, TensorType

HERE = Path(__file__).parent
WORDS = (
    "backward", "bed", "bird", "cat", "dog", "down", "eight", "five", "follow", "forward", "four", "go", "happy",
    "house", "learn", "left", "marvin", "nine", "no", "off", "on", "one", "right", "seven", "sheila", "six", "stop",
    "three", "tree", "two", "up", "visual", "wow", "yes", "zero",
)  # fmt: skip
BLOCKS = ((64, 1), (64, 1), (96, 2), (96, 1), (128, 1), (128, 1), (192, 2))
"""Output channels and stride of each depthwise-separable block."""

Weight = npt.NDArray[np.float16]


class Weights:
    """Weights as training leaves them. `RandomState` draws the same numbers in every version of NumPy."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.RandomState(seed)

    def kernel(self, out: int, *rest: int) -> Weight:
        """A weight of shape (out, *rest), with He's variance on average."""
        values = self.random.standard_normal((out, *rest)) * np.sqrt(2.0 / np.prod(rest))
        values *= np.exp(0.35 * self.random.standard_normal((out, *[1] * len(rest))))
        values[self.random.random_sample(values.shape) < 0.001] *= 4.0
        return np.asarray(values, np.float16)

    def vector(self, size: int, mean: float, deviation: float) -> Weight:
        return np.asarray(mean + deviation * self.random.standard_normal(size), np.float16)


def keyword_spotter(seed: int = 2017) -> Program:
    """The network as a program."""
    weights = Weights(seed)
    with FunctionBuilder("main", {"log_mel": TensorType(FP32, (1, 1, 98, 40))}, IOS16) as f:
        x = f.op("cast", name="log_mel_to_fp16", x=f.inputs["log_mel"], dtype="fp16").output
        x, width = stem(f, x, weights, 64), 64
        for index, (channels, stride) in enumerate(BLOCKS):
            x, width = separable_block(f, x, weights, f"blocks_{index}", width, channels, stride), channels
        x = f.op("reduce_mean", name="pooled", x=x, axes=[2, 3], keep_dims=False).output
        weight = f.const(weights.kernel(len(WORDS), width), name="classifier_weight")
        bias = f.const(weights.vector(len(WORDS), 0.0, 0.05), name="classifier_bias")
        x = f.op("linear", name="logits", x=x, weight=weight, bias=bias).output
        x = f.op("softmax", name="softmax", x=x, axis=-1).output
        f.outputs(f.op("cast", name="probabilities", x=x, dtype="fp32"))
    program = build_program(f)
    program.metadata["words"] = ",".join(WORDS)
    return program


def stem(f: FunctionBuilder, x: Value, weights: Weights, channels: int) -> Value:
    """relu(batch_norm(conv(x))), 98 × 40 → 49 × 20."""
    conv = convolution(f, x, weights.kernel(channels, 1, 10, 4), None, "stem_conv", stride=2)
    norm = f.op(
        "batch_norm",
        name="stem_norm",
        x=conv,
        mean=f.const(weights.vector(channels, 0.0, 0.3), name="stem_norm_mean"),
        variance=f.const(weights.vector(channels, 1.0, 0.1) ** 2, name="stem_norm_variance"),
        gamma=f.const(weights.vector(channels, 1.0, 0.2), name="stem_norm_gamma"),
        beta=f.const(weights.vector(channels, 0.0, 0.2), name="stem_norm_beta"),
        epsilon=1e-5,
    )
    return f.op("relu", name="stem", x=norm).output


def separable_block(
    f: FunctionBuilder, x: Value, weights: Weights, name: str, before: int, channels: int, stride: int
) -> Value:
    """relu(pointwise(relu(depthwise(x)))), with x added before the last relu where it has the same shape."""
    depthwise = convolution(
        f, x, weights.kernel(before, 1, 3, 3), weights.vector(before, 0.0, 0.1), f"{name}_depthwise", stride=stride, groups=before
    )
    hidden = f.op("relu", name=f"{name}_hidden", x=depthwise)
    pointwise = convolution(f, hidden, weights.kernel(channels, before, 1, 1), weights.vector(channels, 0.0, 0.1), f"{name}_pointwise")
    if channels == before and stride == 1:
        pointwise = f.op("add", name=f"{name}_sum", x=pointwise, y=x)
    return f.op("relu", name=name, x=pointwise).output


def convolution(
    f: FunctionBuilder, x: Value | Op, weight: Weight, bias: Weight | None, name: str, *, stride: int = 1, groups: int = 1
) -> Op:
    held = f.const(weight, name=f"{name}_weight")
    added = None if bias is None else f.const(bias, name=f"{name}_bias")
    return f.op("conv", name=name, x=x, weight=held, bias=added, strides=[stride, stride], pad_type="same", groups=groups)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "keyword-spotter.mlpackage"
    print(keyword_spotter().save(target, overwrite=True))
