"""How long 60 rules take over a program of 50,000 ops in which none of them matches, and how long they take where they do.

    python -m tests.bench.rewrite [--ops 50000]

Four ways for a rule not to match, each with 60 rules; processor time, medians of nine runs, and the very first run beside them. Two thirds
of the time is memory that is not in the cache, so other work on the machine shows: the structural check of the same program, some 70 ms
where nothing else runs, is timed beside it.

- absent:   its pattern needs an op type that the program has not;
- rejected: all of its op types are there, and its root is one of the program's commonest, but what feeds the root is another op;
- mixed:    the 60 rules are of all kinds, in the shares in which cleanup and fusion rules are: a third reject on a constant's value;
- matched:  what feeds the root fits each time (a constant), and its value differs.

`linear` shows that the time
grows with the program. `fires` merges 20,000 pairs of transposes, and gives the time of one rewrite.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from itertools import islice, product
from time import process_time
from typing import Any, Final

from ir.const import Const
from ir.core import Block, Function, Op, Operand, Program, Value
from ir.types import FP16, TensorType
from ir.verify import structure
from mlpasses.rewrite import Match, Replacement, Rewriter, Rule, RuleSet, const, p, rewrite, rule

KIND: Final = TensorType(FP16, (8, 8))
LAYER: Final = (
    "square", "reduce_mean", "add", "rsqrt", "mul", "linear", "linear", "linear", "reshape", "transpose", "reshape", "transpose", "matmul",
    "mul", "add", "softmax", "matmul", "transpose", "reshape", "linear", "add", "mul", "linear", "silu", "mul", "linear", "add", "cast",
    "relu", "sub", "real_div", "concat",
)  # fmt: skip
"""The ops of a transformer layer, in about the shares that they have in one; some of them are there so that rules have more roots."""
RUNS: Final = 9


def program(ops: int, *, inline: bool) -> Program:
    """Layers in a row; constants are literals where `inline`, and const ops otherwise, as in real files, where they count among the ops."""
    function = Function("main", [("x", KIND)], "CoreML8")
    block = Block()
    function.add_block("CoreML8", block)
    at: Value = function.inputs[0]
    count = 0
    while count < ops:
        for op_type in LAYER:
            operands: dict[str, Operand] = {"x": at}
            second = _SECOND.get(op_type)
            if second is not None:
                literal = Const.of(0.5, FP16)
                operands[second] = literal
                if not inline:
                    held = Op("const", {}, [(f"c{count}", literal.type)], {"val": literal})
                    block.append(held)
                    operands[second] = held.output
                    count += 1
            op = Op(op_type, operands, [(f"v{count}", KIND)])
            block.append(op)
            at = op.output
            count += 1
    block.set_outputs([at])
    return Program([function], spec_version=9)


_SECOND: Final = {
    "add": "y", "mul": "y", "sub": "y", "real_div": "y", "linear": "weight", "matmul": "y", "reshape": "shape", "transpose": "perm",
    "softmax": "axis", "reduce_mean": "axes", "cast": "dtype",
}  # fmt: skip


def absent() -> list[Rule]:
    """Rules whose roots are common, and which need a convolution, of which there is none."""
    pairs = product(("add", "mul", "relu", "transpose", "reshape"), ("conv", "conv_transpose", "layer_norm", "batch_norm"), (1, 2, 3))
    return [_rule(i, getattr(p, outer)(..., x=getattr(p, inner)(...))) for i, (outer, inner, _) in enumerate(pairs)]


def rejected() -> list[Rule]:
    """Rules of two ops that are both common, and never follow one another."""
    following = set(zip(LAYER, (*LAYER[1:], LAYER[0]), strict=True))
    pairs = ((outer, inner) for outer, inner in product(dict.fromkeys(LAYER), repeat=2) if (inner, outer) not in following)
    pairs = (pair for pair in pairs if "concat" not in pair)
    commonest = sorted(pairs, key=lambda pair: -LAYER.count(pair[0]))
    return [
        _rule(i, getattr(p, outer)(..., x=getattr(p, inner)(..., x="x")), commutes=outer in ("add", "mul"))
        for i, (outer, inner) in enumerate(islice(commonest, 60))
    ]


def matched() -> list[Rule]:
    """Rules over a constant of another value than every constant of the program."""
    roots = ("add", "mul", "sub", "real_div", "matmul", "softmax")
    return [
        _rule(i, getattr(p, op_type)(..., **{_SECOND[op_type]: const("c", equals=float(value + 2))}))
        for i, (op_type, value) in enumerate(product(roots, range(10)))
    ]


def mixed() -> list[Rule]:
    """40 rules over pairs of ops, 20 over an op and the value of a constant: no more than four of them with one root."""
    values = [each for i, each in enumerate(matched()) if i % 10 < 4][:20]
    return [*rejected()[:40], *values]


def _rule(number: int, pattern: Any, *, commutes: bool = False) -> Rule:
    def never(m: Match, rw: Rewriter) -> Replacement | None:
        raise AssertionError(f"{m.rule} matched")

    return rule(pattern, commutes=commutes, name=f"rule-{number}-{pattern}")(never)


@rule(p.transpose(x=p.transpose(x="x", perm=const("inner")), perm=const("outer")))
def merge(m: Match, rw: Rewriter) -> Value:
    """transpose(transpose(x, p), q) → transpose(x, p[q])"""
    return rw.op("transpose", x=m.x, perm=m.inner.numpy()[m.outer.numpy()])


def transposes(pairs: int) -> Program:
    function = Function("main", [("x", KIND)], "CoreML8")
    block = Block()
    function.add_block("CoreML8", block)
    outputs: list[Value] = []
    at: Value = function.inputs[0]
    for i in range(pairs):
        for part in "ab":
            op = Op("transpose", {"x": at, "perm": Const.of([1, 0])}, [(f"t{i}{part}", KIND)])
            block.append(op)
            at = op.output
        op = Op("relu", {"x": at}, [(f"r{i}", KIND)])
        block.append(op)
        at = op.output
    outputs.append(at)
    block.set_outputs(outputs)
    return Program([function], spec_version=9)


def median(work: Callable[[], object]) -> float:
    """Seconds, the median of several runs."""
    times: list[float] = []
    for _ in range(RUNS):
        started = process_time()
        work()
        times.append(process_time() - started)
    return statistics.median(times)


def idle(subject: Program, rules: Sequence[Rule]) -> tuple[float, float]:
    """Milliseconds that rules take in which nothing changes, typically and when they are first applied."""
    rule_set = RuleSet(rules)
    started = process_time()
    assert not rewrite(subject, rule_set)
    first = process_time() - started
    return 1000 * median(lambda: rewrite(subject, rule_set)), 1000 * first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ops", type=int, default=50_000)
    ops = parser.parse_args().ops
    kinds = (("absent", absent()), ("rejected", rejected()), ("mixed", mixed()), ("matched", matched()))
    for name, inline in (("constants as const ops, as in files", False), ("constants as literals: every op may be a root", True)):
        subject = program(ops, inline=inline)
        block = subject.main.body
        print(f"{len(block):,} ops, {len(block) - block.op_types().get('const', 0):,} of them no consts ({name})")
        for kind, rules in kinds:
            roots = sum(block.op_types().get(op_type, 0) for op_type in RuleSet(rules).roots)
            typical, first = idle(subject, rules)
            print(f"  {kind:9} {len(rules)} rules, {roots:6,} ops of their root types: {typical:7.2f} ms, at first {first:.2f}")
        check = 1000 * median(lambda subject=subject: structure.verify(subject))  # type: ignore[misc]  # bound at once
        print(f"  structural check of the same program: {check:.1f} ms")
        small, _ = idle(program(ops // 10, inline=inline), rejected())
        print(f"  linear    a tenth of the ops, rejected: {small:.2f} ms")
    started = process_time()
    RuleSet(rejected())
    print(f"compiling 60 rules, once for a pass: {1000 * (process_time() - started):.2f} ms")
    subject = transposes(20_000)
    started = process_time()
    outcome = rewrite(subject, [merge])
    seconds = process_time() - started
    print(f"fires     {outcome.rewrites:,} rewrites over {60_000:,} ops: {1e6 * seconds / outcome.rewrites:.1f} µs each")


if __name__ == "__main__":
    main()
