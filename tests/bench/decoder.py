"""A llama-like decoder, built directly in the IR: what the benchmarks are run on.

RMS norm from primitives, softmax attention with a causal mask, a gated feed-forward net with SiLU; an embedding table and a separate head.
Weights are fp16, N(0, 0.02), seeded, and drawn into a file chunk by chunk, so that they are never in memory as a whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from attrs import frozen

from ir.builder import FunctionBuilder, build_program
from ir.core import Op, Program, Value
from ir.opset import IOS18, Opset
from ir.tensors import MappedFile, MappedTensor, Tensor
from ir.types import FP16, INT32, TensorType

Weights: TypeAlias = Callable[[tuple[int, ...]], Tensor]
CHUNK: Final = 1 << 20
"""Elements drawn at a time."""
DEVIATION: Final = np.float32(0.02)
SEED: Final = 20260101


@frozen
class Decoder:
    """The dimensions of a decoder."""

    name: str
    layers: int
    width: int
    feed_forward: int
    vocabulary: int
    head_width: int = 64
    sequence: int = 64
    opset: Opset = IOS18

    @property
    def heads(self) -> int:
        return self.width // self.head_width

    @property
    def parameters(self) -> int:
        """The elements of the matrices."""
        layer = 4 * self.width**2 + 3 * self.width * self.feed_forward
        return self.layers * layer + 2 * self.vocabulary * self.width


TINY: Final = Decoder("tiny", layers=2, width=64, feed_forward=160, vocabulary=200, head_width=32, sequence=8)
MINI: Final = Decoder("mini", layers=4, width=192, feed_forward=512, vocabulary=2000)
"""5.1 MB."""
SMALL: Final = Decoder("small", layers=12, width=768, feed_forward=2048, vocabulary=30_000)
LARGE: Final = Decoder("large", layers=16, width=2048, feed_forward=5632, vocabulary=32_000)
DECODERS: Final = {decoder.name: decoder for decoder in (TINY, MINI, SMALL, LARGE)}


def build(decoder: Decoder, weights: Weights) -> Program:
    """The program of a decoder; `weights` provides its matrices, in the order in which they are used."""
    tokens = TensorType(INT32, (1, decoder.sequence))
    with FunctionBuilder(inputs={"tokens": tokens}, opset=decoder.opset) as f:
        layer = _Layers(f, decoder, weights)
        x = f.op("gather", x=weights((decoder.vocabulary, decoder.width)), indices=f.inputs["tokens"], axis=0, name="embedding").output
        future = np.triu(np.full((decoder.sequence, decoder.sequence), -30000, np.float16), 1)
        mask = f.const(future[None, None], name="mask")
        for number in range(decoder.layers):
            x = layer.attention(x, mask, f"layers_{number}_attention")
            x = layer.feed_forward(x, f"layers_{number}_mlp")
        x = layer.norm(x, "norm")
        f.outputs(logits=layer.linear(x, decoder.width, decoder.vocabulary, "lm_head"))
    return build_program(f)


@frozen
class _Layers:
    """The parts of a decoder, put at the end of its function."""

    f: FunctionBuilder
    decoder: Decoder
    weights: Weights

    def linear(self, x: Value, inputs: int, outputs: int, name: str) -> Value:
        weight = self.f.const(self.weights((outputs, inputs)), name=f"{name}_weight")
        return self._op("linear", name, x=x, weight=weight).output

    def norm(self, x: Value, name: str) -> Value:
        """x · rsqrt(mean(x²) + ε) · γ"""
        squares = self._op("mul", f"{name}_squares", x=x, y=x)
        mean = self._op("reduce_mean", f"{name}_mean", x=squares, axes=[-1], keep_dims=True)
        shifted = self._op("add", f"{name}_shifted", x=mean, y=np.float16(1e-3))
        inverse = self._op("rsqrt", f"{name}_rsqrt", x=shifted, epsilon=np.float16(0))
        scaled = self._op("mul", f"{name}_scaled", x=x, y=inverse)
        gain = np.linspace(0.5, 1.5, self.decoder.width, dtype=np.float16)
        return self._op("mul", f"{name}_out", x=scaled, y=gain).output

    def attention(self, x: Value, mask: Value, name: str) -> Value:
        """x + softmax(q · kᵀ / √d + mask) · v, projected"""
        d = self.decoder
        normed = self.norm(x, f"{name}_norm")
        q, k, v = (self._heads(self.linear(normed, d.width, d.width, f"{name}_{p}"), f"{name}_{p}") for p in "qkv")
        scores = self._op("matmul", f"{name}_scores", x=q, y=k, transpose_y=True)
        scaled = self._op("mul", f"{name}_scaled_scores", x=scores, y=np.float16(d.head_width**-0.5))
        masked = self._op("add", f"{name}_masked", x=scaled, y=mask)
        shares = self._op("softmax", f"{name}_softmax", x=masked, axis=-1)
        mixed = self._op("matmul", f"{name}_mixed", x=shares, y=v)
        joined = self._op("transpose", f"{name}_joined", x=mixed, perm=[0, 2, 1, 3])
        flat = self._op("reshape", f"{name}_flat", x=joined, shape=[1, d.sequence, d.width])
        return self._op("add", f"{name}_residual", x=x, y=self.linear(flat.output, d.width, d.width, f"{name}_o")).output

    def feed_forward(self, x: Value, name: str) -> Value:
        """x + down(silu(gate(x)) · up(x))"""
        d = self.decoder
        normed = self.norm(x, f"{name}_norm")
        gate = self._op("silu", f"{name}_silu", x=self.linear(normed, d.width, d.feed_forward, f"{name}_gate"))
        gated = self._op("mul", f"{name}_gated", x=gate, y=self.linear(normed, d.width, d.feed_forward, f"{name}_up"))
        return self._op("add", f"{name}_residual", x=x, y=self.linear(gated.output, d.feed_forward, d.width, f"{name}_down")).output

    def _heads(self, x: Value, name: str) -> Value:
        d = self.decoder
        split = self._op("reshape", f"{name}_split", x=x, shape=[1, d.sequence, d.heads, d.head_width])
        return self._op("transpose", f"{name}_heads", x=split, perm=[0, 2, 1, 3]).output

    def _op(self, op_type: str, name: str, **operands: object) -> Op:
        return self.f.op(op_type, name=name, **operands)  # type: ignore[arg-type]  # what an operand may be is the builder's to say


def draw(path: Path, elements: int) -> None:
    """Writes `elements` fp16 numbers of N(0, 0.02), always the same."""
    random = np.random.Generator(np.random.SFC64(SEED))
    with path.open("wb") as file:
        for start in range(0, elements, CHUNK):
            numbers = random.standard_normal(min(CHUNK, elements - start), np.float32)
            file.write((numbers * DEVIATION).astype(np.float16).data)


def slices(path: Path) -> Weights:
    """Weights that are taken from a file of fp16 numbers, one behind the other."""
    file = MappedFile(path)
    position = 0

    def take(shape: tuple[int, ...]) -> Tensor:
        nonlocal position
        tensor = MappedTensor(file, position, FP16, shape)
        position += 2 * prod(shape)
        return tensor

    return take


def cache_folder() -> Path:
    """Where packages for benchmarks are kept: `mlpasses-bench` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mlpasses-bench"


def package(decoder: Decoder, folder: Path | None = None) -> Path:
    """The package of a decoder, built the first time that it is asked for."""
    home = folder if folder is not None else cache_folder()
    path = home / f"{decoder.name}-{decoder.opset.target}.mlpackage"
    if path.exists():
        return path
    home.mkdir(parents=True, exist_ok=True)
    numbers = home / f"{decoder.name}.f16"
    try:
        draw(numbers, decoder.parameters)
        return build(decoder, slices(numbers)).save(path)
    finally:
        numbers.unlink(missing_ok=True)


def palettized(path: Path, width: int = 4096) -> Path:
    """A package of one product whose weight, of `width` × `width`, is a table of 256 entries and 8-bit indices, built anew."""
    random = np.random.Generator(np.random.SFC64(SEED))
    kind = TensorType(FP16, (width, width))
    with FunctionBuilder(inputs={"x": TensorType(FP16, (1, width))}, opset=IOS18) as f:
        indices = random.integers(0, 256, (width, width), dtype=np.uint8)
        lut = np.sort(random.standard_normal(256).astype(np.float16)).reshape(1, 1, 256, 1)
        weight = f.op("constexpr_lut_to_dense", indices=indices, lut=lut, name="weight", type=kind).output
        f.outputs(y=f.op("linear", x=f.inputs["x"], weight=weight, name="product"))
    return build_program(f).save(path, overwrite=True)
