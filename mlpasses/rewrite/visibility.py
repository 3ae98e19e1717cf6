"""What a value is known as, and where that name means it: files know values by names, looked up from the innermost block outwards."""

from __future__ import annotations

from ir.core import Block, Function, Op, Value
from mlpasses.rewrite.match import users_of


def returned_by(value: Value) -> Function | None:
    """The function that returns the value; None where none does."""
    for user in users_of(value):
        if isinstance(user, Block) and isinstance(user.parent, Function):
            return user.parent
    return None


def is_hidden_from_users(value: Value, name: str, used: Value) -> bool:
    """Whether some block that uses `used` would find another value than `value` by that name. O(uses · depth)."""
    owner = value.owner
    home = owner.block if isinstance(owner, Op) else owner
    seen: set[Block] = set()
    for user in users_of(used):
        block = user.block if isinstance(user, Op) else user
        if block is not None and block is not home and block not in seen:  # most values are used where they are defined
            seen.add(block)
            if is_hidden(value, name, block):
                return True
    return False


def is_hidden(value: Value, name: str, block: Block) -> bool:
    """Whether, looked up as `name` from inside `block`, another value is found before what defines `value`.

    A value of an op that stands in no block yet is not: it is given a name that is free in the whole function.
    """
    owner = value.owner
    home = owner.block if isinstance(owner, Op) else owner
    if home is None:
        return False
    at: Block | None = block
    while at is not None and at is not home:
        found = at.value_named(name)
        if found is not None and found is not value:
            return True
        at = at.parent.block if isinstance(at.parent, Op) else None
    return False
