"""Small programs to choose from, and configs to choose."""

from __future__ import annotations

import numpy as np
from attrs import frozen

from ir.builder import FunctionBuilder, build_program
from ir.core import Op, Program, Value
from ir.opset import IOS16, Opset
from ir.types import FP16, INT32, TensorType
from mlpasses.candidates import candidates
from mlpasses.subjects import Subject, weight_subjects


@frozen
class Bits:
    """A config that says how much it keeps."""

    nbits: int = 4
    mode: str = "kmeans"

    @property
    def strictness(self) -> float:
        return self.nbits


@frozen
class Scheme:
    """A config that does not."""

    label: str


def zeros(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float16]]:
    return np.zeros(shape, np.float16)


def decoder(layers: int = 2, *, tied: bool = True, opset: Opset = IOS16) -> Program:
    """An embedding, some layers, a head; the head's weight is the embedding table where `tied`."""
    return build_program(decode(layers, tied=tied, opset=opset))


def decode(layers: int = 2, *, tied: bool = True, opset: Opset = IOS16, function: str = "main") -> FunctionBuilder:
    with FunctionBuilder(function, {"ids": TensorType(INT32, (1, 4))}, opset) as f:
        table = f.const(zeros(32, 16), name="embed")
        x: Value | Op = f.op("gather", name="tokens", x=table, indices=f.inputs["ids"], axis=0)
        for layer in range(layers):
            for part in ("attn_q", "mlp_up"):
                weight = f.const(zeros(16, 16), name=f"layers_{layer}_{part}_weight")
                x = f.op("linear", name=f"layers_{layer}_{part}", x=x, weight=weight)
            x = f.op("relu", name=f"layers_{layer}_act", x=x)
        head = table if tied else f.const(zeros(32, 16), name="lm_head_weight")
        f.outputs(f.op("linear", name="lm_head", x=x, weight=head))
    return f


def weights(program: Program) -> list[Subject]:
    return weight_subjects(candidates(program, 1))


def type_of(*shape: int) -> TensorType:
    return TensorType(FP16, shape)
