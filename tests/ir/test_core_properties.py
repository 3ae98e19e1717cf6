"""Random sequences of mutations keep every invariant that `ir.core` lists, and refused ones change nothing."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from ir.const import UNREAD, Const
from ir.core import OUTPUTS, Block, Function, Op, Operand, Program, Value, constant_of
from ir.diagnostics import MutationError
from ir.types import FP16, FP32, TensorType

T = TensorType(FP16, (2,))
ONE = Const.of([1.0, 1.0], FP16)
NAMES = st.sampled_from([f"n{i}" for i in range(12)])
OP_TYPES = st.sampled_from(["relu", "add", "conv"])
PARAMETERS = st.sampled_from(["x", "y", "values"])
ACTIONS = ["erase", "before", "behind", "to front", "to back", "replace", "nothing"]
PICK = st.integers(0, 1 << 16)


def _defined(program: Program) -> list[Value]:
    inside = (value for block in program.blocks() for value in [*block.inputs, *(v for op in block for v in op.outputs)])
    return [*program.main.inputs, *inside]


def _comes_from(operand: Operand) -> str:
    if isinstance(operand, Value):
        return operand.op.op_type if operand.op is not None else ""
    return "const"


def _used(program: Program) -> list[Value]:
    operands = [v for block in program.blocks() for op in block for held in op.operands.values() for v in held if isinstance(v, Value)]
    return operands + [value for block in program.blocks() for value in block.outputs]


class Mutations(RuleBasedStateMachine):
    """A program of one function with nested blocks, and ops that are detached or erased. `ops` holds every op ever made."""

    live = Bundle("live")

    def __init__(self) -> None:
        super().__init__()
        self.function = Function("main", [("x", T), ("n0", T)])
        self.body = Block()
        self.function.add_block("CoreML5", self.body)
        self.program = Program([self.function])
        self.ops: list[Op] = []
        self.blocks: list[Block] = [self.body]
        self.before = self.state()
        self.version = self.program.version

    # what is there

    def values(self) -> list[Value]:
        inputs = [*self.function.inputs, *(value for block in self.blocks for value in block.inputs)]
        return inputs + [value for op in self.ops for value in op.outputs]

    def value(self, pick: int) -> Value:
        found = self.values()
        return found[pick % len(found)]

    def block(self, pick: int) -> Block:
        return self.blocks[pick % len(self.blocks)]

    def anchor(self, pick: int) -> Op | None:
        return self.ops[pick % len(self.ops)] if self.ops else None

    def state(self) -> list[Any]:
        """All that methods may change, by identity."""
        return [
            [(block, list(block), dict(block._names), block.outputs, block.parent) for block in self.blocks],
            [(op, dict(op.operands), dict(op.attributes), op.block, [(v.name, v.type) for v in op.outputs]) for op in self.ops],
            [(value, list(value._uses)) for value in self.values()],
        ]

    def attempt(self, change: Callable[[], object]) -> bool:
        """Makes a change; one that is refused has to leave everything as it was. Attached or not, what changed raises the version."""
        before, version = self.state(), self.program.version
        attached = [entry for entry in before[0] if entry[0].function is self.function]
        try:
            change()
        except MutationError:
            assert self.state() == before
            assert self.program.version == version
            return False
        after = [entry for entry in self.state()[0] if entry[0].function is self.function]
        assert self.program.version > version or after == attached
        return True

    # changes

    @rule(target=live, op_type=OP_TYPES, names=st.lists(NAMES, max_size=2), uses=st.lists(st.tuples(PARAMETERS, PICK), max_size=3))
    def make(self, op_type: str, names: list[str], uses: list[tuple[str, int]]) -> Op:
        operands: dict[str, list[Value | Const]] = {}
        for parameter, pick in uses:
            operands.setdefault(parameter, []).append(ONE if pick % 7 == 0 else self.value(pick))
        op = Op(op_type, operands, [(name, T) for name in names])
        self.ops.append(op)
        return op

    @rule(target=live, name=NAMES, pick=PICK, capture=PICK)
    def make_nesting(self, name: str, pick: int, capture: int) -> Any:
        block = Block([("i", T)])
        block.set_outputs([block.inputs[0], self.value(capture)])
        op = Op("cond", {"x": self.value(pick)}, [(name, T)], blocks=[block])
        self.ops.append(op)
        self.blocks.append(block)
        return op

    @rule(op=live, block=PICK, place=st.sampled_from(["append", "insert_first"]))
    def put(self, op: Op, block: int, place: str) -> None:
        self.attempt(lambda: getattr(self.block(block), place)(op))

    @rule(op=live, anchor=PICK, block=PICK, place=st.sampled_from(["insert_before", "insert_after"]))
    def put_beside(self, op: Op, anchor: int, block: int, place: str) -> None:
        beside = self.anchor(anchor)
        if beside is not None:
            self.attempt(lambda: getattr(beside.block or self.block(block), place)(beside, op))

    @rule(op=live, anchor=PICK, place=st.sampled_from(["move_before", "move_after"]))
    def move(self, op: Op, anchor: int, place: str) -> None:
        beside = self.anchor(anchor)
        if beside is not None:
            self.attempt(lambda: getattr(op, place)(beside))

    @rule(target=live, op=consumes(live))
    def erase(self, op: Op) -> Any:
        if self.attempt(op.erase):
            self.forget(op)
            return multiple()
        return op

    @rule(picks=st.lists(PICK, max_size=4), block=PICK)
    def erase_several(self, picks: list[int], block: int) -> None:
        chosen = self.block(block)
        ops = [op for i, op in enumerate(chosen) if i in {pick % 6 for pick in picks}]
        if self.attempt(lambda: chosen.erase(ops)):
            for op in ops:
                assert op.block is None
                assert not op.operands

    @rule(old=PICK, new=live)
    def replace(self, old: int, new: Op) -> None:
        beside = self.anchor(old)
        if beside is not None and beside.block is not None:
            block = beside.block
            self.attempt(lambda: block.replace(beside, new))

    @rule(op=live, parameter=PARAMETERS, picks=st.lists(PICK, max_size=3))
    def set(self, op: Op, parameter: str, picks: list[int]) -> None:
        self.attempt(lambda: op.set(parameter, *(ONE if pick % 5 == 0 else self.value(pick) for pick in picks)))

    @rule(op=live, parameter=PARAMETERS)
    def unset(self, op: Op, parameter: str) -> None:
        self.attempt(lambda: op.unset(parameter))

    @rule(old=PICK, new=PICK)
    def replace_uses(self, old: int, new: int) -> None:
        value = self.value(old)
        uses = len(value.uses)
        by = ONE if new % 9 == 0 else self.value(new)
        counted: list[int] = []
        if self.attempt(lambda: counted.append(value.replace_uses(by))):
            assert counted == [0 if by is value else uses]

    @rule(pick=PICK, name=NAMES)
    def rename(self, pick: int, name: str) -> None:
        self.attempt(lambda: self.value(pick).rename(name))

    @rule(pick=PICK, dtype=st.sampled_from([FP16, FP32]))
    def retype(self, pick: int, dtype: Any) -> None:
        self.attempt(lambda: setattr(self.value(pick), "type", T.with_dtype(dtype)))

    @rule(block=PICK, picks=st.lists(PICK, max_size=3))
    def set_outputs(self, block: int, picks: list[int]) -> None:
        self.attempt(lambda: self.block(block).set_outputs([self.value(pick) for pick in picks]))

    @rule(op=live, key=st.sampled_from(["name", "val"]))
    def set_attribute(self, op: Op, key: str) -> None:
        self.attempt(lambda: op.set_attribute(key, ONE))

    @rule()
    def clone(self) -> None:
        """A copy has the same ops in the same order and shares no value; making it leaves the original as it was."""
        defined = set(_defined(self.program))
        if not all(value in defined for value in _used(self.program)):
            return  # a copy uses what is defined outside of the program as it is, so it would not stand apart
        before = self.state()
        copy = self.program.clone()
        assert self.state() == before
        assert set(_defined(copy)).isdisjoint(defined)
        counterpart = dict(zip(_defined(self.program), _defined(copy), strict=True))
        assert [counterpart[value] for value in _used(self.program)] == list(_used(copy))
        assert [op.op_type for block in self.program.blocks() for op in block] == [op.op_type for block in copy.blocks() for op in block]
        assert [op.sources for block in self.program.blocks() for op in block] == [op.sources for block in copy.blocks() for op in block]

    def forget(self, erased: Op) -> None:
        assert erased.block is None
        assert not erased.operands

    # what always holds

    @invariant()
    def links_and_counts_agree(self) -> None:
        for block in self.blocks:
            ops = list(block)
            assert list(reversed(block)) == ops[::-1]
            assert len(block) == len(ops)
            assert all(op.block is block for op in ops)
            assert (block.first, block.last) == ((ops[0], ops[-1]) if ops else (None, None))
            assert all(p.is_before(q) and p.next is q and q.previous is p for p, q in pairwise(ops))
            assert block.nesting_ops() == [op for op in ops if op.blocks]

    @invariant()
    def an_op_is_in_one_block_at_most_once(self) -> None:
        standing = [op for block in self.blocks for op in block]
        assert len(standing) == len(set(standing))
        assert set(standing) == {op for op in self.ops if op.block is not None}

    @invariant()
    def the_index_finds_ops_by_type_in_order(self) -> None:
        for block in self.blocks:
            for op_type in ("relu", "add", "conv", "cond"):
                assert list(block.ops(op_type)) == [op for op in block if op.op_type == op_type]
            assert list(block.ops("relu", "cond")) == [op for op in block if op.op_type in ("relu", "cond")]
            assert sum(block.op_types().values()) == len(block)

    @invariant()
    def names_are_unique_and_registered(self) -> None:
        for block in self.blocks:
            defined = [*block.inputs, *(value for op in block for value in op.outputs)]
            assert {value.name: value for value in defined} == block._names
            assert len(defined) == len(block._names)

    @invariant()
    def uses_are_known_at_both_ends(self) -> None:
        slots: dict[Value, set[tuple[object, str, int]]] = {value: set() for value in self.values()}
        for op in self.ops:
            for parameter, held in op.operands.items():
                for position, operand in enumerate(held):
                    if isinstance(operand, Value):
                        slots[operand].add((op, parameter, position))
        for block in self.blocks:
            for position, value in enumerate(block.outputs):
                slots[value].add((block, OUTPUTS, position))
        for value, expected in slots.items():
            assert set(value._uses) == expected
            assert value.is_used == bool(expected)

    @invariant()
    def sources_are_those_of_the_first_operands(self) -> None:
        for op in self.ops:
            firsts = [(parameter, held[0]) for parameter, held in op.operands.items() if held]
            assert list(zip(op.sources[::3], op.sources[1::3], strict=True)) == [(name, _comes_from(operand)) for name, operand in firsts]
            for (_, operand), value in zip(firsts, op.sources[2::3], strict=True):
                literal = constant_of(operand)
                assert value is UNREAD or value == (None if literal is None else literal.scalar())

    @invariant()
    def blocks_belong_where_they_are_held(self) -> None:
        for op in self.ops:
            assert all(block.parent is op for block in op.blocks)
            assert all(value.owner is op and op.outputs[value.index] is value for value in op.outputs)


Mutations.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_mutations_keep_the_invariants = Mutations.TestCase


@settings(deadline=None)
@given(
    st.integers(0, 6),
    st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 9)), max_size=25),
    st.booleans(),
)
def test_iteration_repeats_none_and_skips_none(count: int, script: list[tuple[str, int]], backwards: bool) -> None:
    """Ops that stand still are visited once, in order, whatever happens around them; ops that move are not missed by moving others."""
    function = Function("main", [("x", T)])
    block = Block()
    function.add_block("CoreML5", block)
    originals = [Op("relu", {}, [(f"o{i}", T)]) for i in range(count)]
    for op in originals:
        block.append(op)
    touched: set[Op] = set()
    seen: list[Op] = []
    steps = iter(script)
    for number, op in enumerate(reversed(block) if backwards else block):
        seen.append(op)
        action, pick = next(steps, ("nothing", 0))
        ops = list(block)
        other = ops[pick % len(ops)]
        fresh = Op("add", {}, [(f"f{number}", T)])
        if action == "erase":
            touched.add(other)
            other.erase()
        elif action == "before":
            block.insert_before(other, fresh)
        elif action == "behind":
            block.insert_after(other, fresh)
        elif action == "to front":
            touched.add(other)
            other.move_before(ops[0])
        elif action == "to back":
            touched.add(other)
            other.move_after(ops[-1])
        elif action == "replace":
            touched.add(other)
            block.replace(other, fresh)
        if number > 200:
            raise AssertionError("the iteration does not end")
    still = [op for op in originals if op not in touched]
    assert [op for op in seen if op in still] == (still[::-1] if backwards else still)
    assert block._cursors == []
