"""Executes programs: every op by its evaluator, in order, nested blocks included.

    outputs = execute(program, {"x": x})

A tensor is let go of at its last use. Constants are read where they are used, and weights in a compressed form expanded when they are due.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, MutableMapping
from typing import Any, Final, TypeAlias

import numpy as np
from attrs import frozen

from ir.const import Const
from ir.core import Block, Function, Op, Operand, Program, Value, constant_of
from ir.diagnostics import EvaluationError
from ir.opset import Opset, opset_of_key
from ir.specs import is_constexpr
from ir.types import StateType, TensorType
from mlpasses.runtime.arrays import Array, Arrays, show_shape
from mlpasses.runtime.table import evaluate_op, evaluator_of, mismatch

MAX_ITERATIONS: Final = 1_000_000
"""After so many iterations a while_loop is taken for one that does not end."""
_BLOCKS: Final = frozenset({"cond", "while_loop"})
_OWN: Final = frozenset({*_BLOCKS, "const", "read_state", "write_state"})
"""What is run here rather than by an evaluator."""

_Task: TypeAlias = "Generator[_Task, Arrays, Arrays]"
"""Work on a block: yields the work on a block nested in it, is sent its results, and returns its own. So depth is no recursion."""


def execute(
    program: Program | Function,
    inputs: Mapping[str, Array],
    *,
    states: MutableMapping[str, Array] | None = None,
    max_iterations: int = MAX_ITERATIONS,
) -> dict[str, Array]:
    """The outputs of a function by name: of a program's only one, or its `main`; of the active specialization.

    `states` holds the contents of the states by name, and is given their new ones; one that is not in it starts at zeros. Outputs may share
    memory with inputs and constants: copy what is to be changed.

    Raises:
        EvaluationError: an op cannot be run, or its operands do not fit, and the text names it; inputs are missing, unknown or of another
            type than declared; or a loop does not end within `max_iterations`.
    """
    function = _function_of(program)
    opset = opset_of_key(function.opset)
    if opset is None:
        raise EvaluationError(f"function {function.name} is written for {function.opset}, which is no opset that is known")
    body = function.specializations.get(function.opset)
    if body is None:
        raise EvaluationError(f"function {function.name} has no block for its opset {function.opset}")
    _check_ops(body, opset)
    run = _Run(opset, _inputs(function, inputs), _states(function, states), max_iterations)
    results = _drive(run.block(body))
    if states is not None:
        states.update((value.name, array) for value, array in run.states.items())
    return {value.name: result for value, result in zip(body.outputs, results, strict=True)}


def _function_of(program: Program | Function) -> Function:
    if isinstance(program, Function):
        return program
    try:
        return program.main
    except ValueError as error:
        raise EvaluationError(f"{error}: hand over one of program.functions") from None


def _inputs(function: Function, given: Mapping[str, Array]) -> dict[Value, Array]:
    wanted = {value.name: value for value in function.inputs if not isinstance(value.type, StateType)}
    unknown = [name for name in given if name not in wanted]
    missing = [name for name in wanted if name not in given]
    if unknown or missing:
        problem = f"there is no input {unknown[0]}" if unknown else f"there is nothing for input {missing[0]}"
        raise EvaluationError(f"{problem}; function {function.name} takes {', '.join(map(repr, wanted.values())) or 'none'}")
    found: dict[Value, Array] = {}
    for name, value in wanted.items():
        array = np.asarray(given[name])
        problem_of = mismatch(value, array)
        if problem_of is not None:
            raise EvaluationError(f"input {problem_of}")
        found[value] = array
    return found


def _states(function: Function, given: Mapping[str, Array] | None) -> dict[Value, Array]:
    found: dict[Value, Array] = {}
    for value in function.inputs:
        if not isinstance(value.type, StateType):
            continue
        array = (given or {}).get(value.name)
        if array is None:
            wrapped = value.type.wrapped
            if not isinstance(wrapped, TensorType) or not wrapped.is_static:
                raise EvaluationError(f"state {value.name} is {wrapped!r}, so its first contents have to be given")
            array = np.zeros(wrapped.static_shape, wrapped.dtype.numpy)
        _check_state(value, array)
        found[value] = array
    return found


def _check_state(state: Value, array: Array) -> None:
    wrapped = state.type.wrapped if isinstance(state.type, StateType) else state.type
    problem = mismatch(state, array, wrapped)
    if problem is not None:
        raise EvaluationError(f"state {problem}")


def _check_ops(body: Block, opset: Opset) -> None:
    """Whether every op can be run, before any is."""
    pending = [body]
    while pending:
        block = pending.pop()
        for op_type in block.op_types():
            if op_type not in _OWN and not is_constexpr(op_type) and evaluator_of(op_type, opset) is None:
                op = next(block.ops(op_type))
                raise EvaluationError(f"{op_type} {op.name} cannot be run: there is no evaluator for {op_type} in {opset}")
        for op in block.nesting_ops():
            if len(op.blocks) != 2:
                raise EvaluationError(f"{op.op_type} {op.name}: it has {len(op.blocks)} blocks, not two")
            pending += op.blocks


def _drive(task: _Task) -> Arrays:
    stack = [task]
    results: Any = None
    while True:
        try:
            nested = stack[-1].send(results)
        except StopIteration as done:
            stack.pop()
            if not stack:
                return done.value  # type: ignore[no-any-return]  # what the outermost task returned
            results = done.value
        else:
            stack.append(nested)
            results = None


@frozen(eq=False)
class _Plan:
    """The ops of a block that are to be run, each with the block's own values that nobody needs after it, and what is left at the end."""

    steps: tuple[tuple[Op, tuple[Value, ...]], ...]
    left: tuple[Value, ...]


class _Run:
    """One execution: the values that are known, and the plans of the blocks."""

    def __init__(self, opset: Opset, inputs: dict[Value, Array], states: dict[Value, Array], max_iterations: int) -> None:
        self.states = states
        self._opset = opset
        self._known = inputs
        self._max_iterations = max_iterations
        self._plans: dict[Block, _Plan] = {}

    def block(self, block: Block) -> _Task:
        """Runs a block, whose inputs are known; returns what it returns."""
        known = self._known
        plan = self._plans.get(block)
        if plan is None:
            plan = self._plans[block] = _planned(block)
        for op, dead in plan.steps:
            if op.op_type == "cond":
                results = yield self._cond(op)
            elif op.op_type == "while_loop":
                results = yield self._while(op)
            else:
                results = self._op(op)
            known.update(zip(op.outputs, results, strict=True))
            for value in dead:
                known.pop(value, None)
        returned = tuple([self._array(value) for value in block.outputs])
        for value in plan.left:
            known.pop(value, None)
        return returned

    def _op(self, op: Op) -> Arrays:
        if is_constexpr(op.op_type):
            return evaluate_op(op, {})
        if op.op_type == "read_state":
            return (self.states[self._state(op)],)
        if op.op_type == "write_state":
            state, array = self._state(op), self._single(op, "data")
            _check_state(state, array)
            self.states[state] = array
            return ()
        operands = {parameter: tuple([self._array(operand) for operand in held]) for parameter, held in op.operands.items()}
        return evaluate_op(op, operands, opset=self._opset)

    def _cond(self, op: Op) -> _Task:
        chosen = op.blocks[0 if _truth(op, self._single(op, "pred")) else 1]
        results = yield self.block(chosen)
        return _checked(op, results)

    def _while(self, op: Op) -> _Task:
        condition, body = op.blocks
        values = tuple([self._array(operand) for operand in op.operands.get("loop_vars", ())])
        for _ in range(self._max_iterations):
            self._enter(op, condition, values)
            results = yield self.block(condition)
            if len(results) != 1:
                raise EvaluationError(f"{op.op_type} {op.name}: its condition returns {len(results)} values, not one")
            if not _truth(op, results[0]):
                return _checked(op, values)
            self._enter(op, body, values)
            values = yield self.block(body)
        raise EvaluationError(f"{op.op_type} {op.name}: it does not end within {self._max_iterations} iterations")

    def _enter(self, op: Op, block: Block, values: Arrays) -> None:
        if len(values) != len(block.inputs):
            raise EvaluationError(f"{op.op_type} {op.name}: a block takes {len(block.inputs)} values, and there are {len(values)}")
        self._known.update(zip(block.inputs, values, strict=True))

    def _state(self, op: Op) -> Value:
        state = op.get("input")
        if not isinstance(state, Value) or state not in self.states:
            raise EvaluationError(f"{op.op_type} {op.name}: its input has to be a state of the function")
        return state

    def _single(self, op: Op, parameter: str) -> Array:
        held = op.operands.get(parameter, ())
        if len(held) != 1:
            raise EvaluationError(f"{op.op_type} {op.name}: {parameter} takes one operand, not {len(held)}")
        return self._array(held[0])

    def _array(self, operand: Operand) -> Array:
        if isinstance(operand, Value):
            found = self._known.get(operand)
            if found is not None:
                return found
        literal = constant_of(operand)
        if literal is None:
            raise EvaluationError(f"{_name(operand)} is used before it is known")
        if not literal.is_tensor:
            raise EvaluationError(f"{_name(operand)} is a {literal.type!r}, and only tensors can be computed with")
        return literal.numpy()


def _name(operand: Operand) -> str:
    return "a literal" if isinstance(operand, Const) else operand.name


def _truth(op: Op, array: Array) -> bool:
    if array.size != 1 or array.dtype != np.bool_:
        found = f"{array.dtype}{show_shape(array.shape)}"
        raise EvaluationError(f"{op.op_type} {op.name}: its condition has to be a truth value, and is {found}")
    return bool(array.item())


def _checked(op: Op, results: Arrays) -> Arrays:
    if len(results) != len(op.outputs):
        raise EvaluationError(f"{op.op_type} {op.name}: its blocks return {len(results)} values, and it has {len(op.outputs)} outputs")
    for value, result in zip(op.outputs, results, strict=True):
        problem = mismatch(value, result)
        if problem is not None:
            raise EvaluationError(f"{op.op_type} {op.name}: {problem}")
    return results


def _planned(block: Block) -> _Plan:
    dead: dict[Op, list[Value]] = {}
    left: list[Value] = []
    for value in _own_values(block):
        last = _last_user(value, block)
        if isinstance(last, Op):
            dead.setdefault(last, []).append(value)
        else:
            left.append(value)
    steps = tuple([(op, tuple(dead.get(op, ()))) for op in block if op.op_type != "const" and not _is_part(op)])
    return _Plan(steps, tuple(left))


def _own_values(block: Block) -> Iterator[Value]:
    yield from block.parent.inputs if isinstance(block.parent, Function) else block.inputs
    for op in block:
        yield from op.outputs


def _last_user(value: Value, block: Block) -> Op | Block:
    """The last op of the block that uses a value, itself or in a block nested in it; the block, where it returns the value.

    The op that yields the value, where nobody uses it.
    """
    last = value.op
    for user, _, _ in value.uses:
        if user is block:
            return block
        at: Op | Block | Function | None = user
        while isinstance(at, Op | Block) and not (isinstance(at, Op) and at.block is block):
            at = at.block if isinstance(at, Op) else at.parent
        if isinstance(at, Op) and (last is None or last.is_before(at)):
            last = at
    return block if last is None else last


def _is_part(op: Op) -> bool:
    """Whether an op is in the middle of a chain of constexpr ops: its value is computed with that of the last."""
    if not is_constexpr(op.op_type):
        return False
    return all(isinstance(user, Op) and is_constexpr(user.op_type) for value in op.outputs for user, _, _ in value.uses)
