"""Is a program sound? In two depths, each of which collects every problem before it raises once.

- `structure`: the invariants of the object model, dominance and names; cheap enough for after every pass.
- `specification`: parameters, element types, constexpr shapes, opsets, result types; on the ops that a pass touched, on all before saving.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ir.core import Block, Function, Op, Value
from ir.diagnostics import InvalidProgramError, Problem

SHOWN: Final = 20
"""Problems that an error's text shows; its `problems` hold them all."""


def raise_problems(problems: Sequence[Problem]) -> None:
    """Raises one error for all of `problems`, each shown with its op and the ops around it; nothing where there are none.

    Raises:
        InvalidProgramError: there is a problem.
    """
    if not problems:
        return
    count = "1 problem was" if len(problems) == 1 else f"{len(problems)} problems were"
    shown = [f"{count} found in the program:"]
    shown += [_shown(number, problem) for number, problem in enumerate(problems[:SHOWN], 1)]
    if len(problems) > SHOWN:
        shown.append(f"… and {len(problems) - SHOWN} more")
    raise InvalidProgramError(problems, "\n".join(shown))


def new_problems(found: Sequence[Problem], before: Sequence[Problem]) -> list[Problem]:
    """The problems of `found` that are not those which a program had before.

    A problem is known by its text. That of an op which a pass made or changed may read otherwise now: such an op keeps the names of its
    results, and says what it was made from (`origin.sources`), so it is known by those.
    """
    texts = {problem.message for problem in before}
    names = {name for problem in before for name in _names(problem)}
    return [
        problem
        for problem in found
        if problem.message not in texts and (not _was_rewritten(problem) or names.isdisjoint(_names(problem)))
    ]


def _was_rewritten(problem: Problem) -> bool:
    op = _op_of(problem.where)
    return op is not None and op.origin is not None


def _names(problem: Problem) -> set[str]:
    """What a problem's op may be called: its name, its results, and the ops that it was made from."""
    op = _op_of(problem.where)
    if op is None:
        return set()
    return {op.name, *(value.name for value in op.outputs), *getattr(op.origin, "sources", ())} - {""}


def _shown(number: int, problem: Problem) -> str:
    lines = [f"{number}. {problem.message}" + (f": {problem.fix}" if problem.fix else "")]
    op = _op_of(problem.where)
    if op is not None:
        lines += [f"   {line}" for line in _neighbourhood(op).splitlines()]
    elif problem.where is not None:
        lines.append(f"   in {_place(problem.where)}")
    return "\n".join(lines)


def _op_of(where: Op | Value | Block | Function | None) -> Op | None:
    if isinstance(where, Op):
        return where
    if isinstance(where, Value):
        return where.op
    if isinstance(where, Block) and isinstance(where.parent, Op):
        return where.parent
    return None


def _neighbourhood(op: Op) -> str:
    from ir.text import print_neighbourhood  # the printer is not needed where nothing is wrong

    try:
        return print_neighbourhood(op)
    except Exception as error:  # an invalid program may be beyond printing, and its problem is the news
        return f"(at {op.op_type}; it cannot be printed: {error})"


def _place(where: Op | Value | Block | Function) -> str:
    owner = where.owner if isinstance(where, Value) else where
    function = owner if isinstance(owner, Function) else owner.function
    return "a detached block" if function is None else f"function {function.name}"
