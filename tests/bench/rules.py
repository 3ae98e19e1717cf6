"""How long it takes to resolve rules: 20 rules over a program of 50,000 ops with 10,000 weights.

    python -m tests.bench.rules [OPS]

Medians of several runs in one process, in processor time (one thread; the machine may be shared). The names
are a decoder's: 40 to 60 characters, two for each weight.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from statistics import median
from time import process_time

import numpy as np

from ir.const import Const
from ir.core import Block, Function, Op, Program, Value
from ir.opset import IOS18
from ir.tensors import ArrayTensor
from ir.types import FP16, TensorType
from mlpasses.candidates import candidates
from mlpasses.config import Quantize
from mlpasses.resolution import Resolution, resolve
from mlpasses.rules import Rule, Rules
from mlpasses.select import consumer, dtype, function, matching_ops, name, nbytes, numel, op_type, opset, param, rank
from mlpasses.subjects import op_subjects, weight_subjects

INT8, UINT8 = Quantize(), Quantize(dtype="uint8")
PER_TENSOR, ASYMMETRIC = Quantize(granularity="per-tensor"), Quantize(mode="asymmetric")
PARTS = ("self_attn_q_proj", "self_attn_k_proj", "self_attn_v_proj", "self_attn_o_proj", "mlp_gate_proj", "mlp_up_proj", "mlp_down_proj")

RULES = Rules(
    (name("*lm_head*"), None),
    (name("embed_tokens_weight"), None),
    (name("re:.*layers_(0|1)_.*_proj.*"), UINT8),
    (name("*layers_2_*q_proj*", "*layers_3_*q_proj*"), UINT8),
    (name("re:.*layers_4[0-9]_mlp_(gate|up)_proj.*"), ASYMMETRIC),
    (name("model_layers_77_mlp_up_proj_weight_to_fp16", "model_layers_78_mlp_up_proj_weight_to_fp16"), None),
    (name("re:.*layers_5[0-9]_self_attn_[qk]_proj.*"), PER_TENSOR),
    (name("model_layers_6?_self_attn_v_proj*"), ASYMMETRIC),
    (op_type("linear") & name("*layers_9_*") & (numel >= 128), UINT8),
    (name("re:.*layers_1[0-9][0-9]_mlp_down_proj_weight_to_fp16"), UINT8),
    (name("*layers_8[0-4]_mlp*"), PER_TENSOR),
    (consumer("conv") & ~name("*mlp*"), None),
    (op_type("conv") & (rank == 4), ASYMMETRIC),
    (function("decode") & (opset >= "iOS18"), UINT8),
    (param("weight") & (nbytes >= 1 << 10), PER_TENSOR),
    (name("re:.*_o_proj_[0-9]+"), ASYMMETRIC),
    (dtype("fp32"), None),
    (numel < 100, None),
    (~op_type("linear"), None),
    default=INT8,
)


def program_of(ops: int) -> Program:
    """One weight in five ops: const, linear, add, mul, relu."""
    x_type, w_type = TensorType(FP16, (1, 16)), TensorType(FP16, (16, 16))
    main = Function("main", [("x", x_type)], IOS18.key)
    block = Block()
    main.add_block(IOS18.key, block)
    x: Value = main.inputs[0]
    for index in range(ops // 5):
        stem = f"model_layers_{index // len(PARTS)}_{PARTS[index % len(PARTS)]}"
        tensor = ArrayTensor(np.zeros((16, 16), np.float16))
        w = add(block, "const", {}, f"{stem}_weight_to_fp16", w_type, val=Const(w_type, tensor))
        x = add(block, "linear", {"x": x, "weight": w}, f"linear_{stem}_{index}_cast_fp16", x_type)
        x = add(block, "add", {"x": x, "y": x}, f"add_{index}_cast_fp16", x_type)
        x = add(block, "mul", {"x": x, "y": x}, f"mul_{index}_cast_fp16", x_type)
        x = add(block, "relu", {"x": x}, f"relu_{index}_cast_fp16", x_type)
    block.set_outputs([x])
    return Program([main], spec_version=IOS18.spec_version)


def add(block: Block, op_type: str, operands: dict[str, Value], name: str, kind: TensorType, **attributes: Const) -> Value:
    op = Op(op_type, operands, [(name, kind)], {"name": Const.of(name), **attributes})
    block.append(op)
    return op.output


def timed(what: str, job: Callable[[], object], runs: int = 7) -> None:
    seconds = []
    for _ in range(runs):
        start = process_time()
        job()
        seconds.append(process_time() - start)
    print(f"{what:58} {1000 * median(seconds):8.1f} ms")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    program = program_of(count)
    found = candidates(program, 1)
    subjects = weight_subjects(found)
    print(f"{count} ops, {len(subjects)} weights, {len(RULES)} rules")

    def weights() -> Resolution:
        return resolve(rules, weight_subjects(found))

    def ops() -> Resolution:
        return resolve(rules, op_subjects(program))

    rules = Rules(*(Rule(rule.filter, rule.config, optional=True) for rule in RULES))
    worst = Rules(*(Rule(name(f"re:.*(layers_{index}_|x{index}).*proj.*"), INT8, optional=True) for index in range(20)))
    timed("candidates", lambda: candidates(program, 1))
    timed("subjects", lambda: weight_subjects(found))
    timed("resolve over weights, subjects included", weights)
    timed("resolve over weights, 20 slow regular expressions", lambda: resolve(worst, weight_subjects(found)))
    timed("resolve over all ops, subjects included", ops, runs=3)
    timed('matching_ops, op_type("linear") & name("*q_proj*")', lambda: list(matching_ops(program, op_type("linear") & name("*q_proj*"))))
    typos = Rules(*((name(f"*layers_{index}_self_atn*"), INT8) for index in range(10)))
    timed("10 globs that match nothing, with suggestions", lambda: resolve(typos, subjects, program), runs=3)
    print(resolve(typos, subjects, program).findings[0])


if __name__ == "__main__":
    main()
