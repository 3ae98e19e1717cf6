"""Result types: what an op yields, told from its operands.

Plain functions from `Args` to a tuple of types, referenced by the rows of the op tables. Unknown dimensions propagate soundly: a result
dimension is a number only if it is that number whatever the unknown ones turn out to be.
"""

from __future__ import annotations

from ir.infer.args import Args, InferError, has_rank

__all__ = ["Args", "InferError", "has_rank"]
