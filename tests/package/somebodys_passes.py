"""Passes in a package of its own: one over functions, one over ops with a config of its own."""

from typing import Literal

from attrs import frozen

import mlpasses as mp
from ir.const import Const
from ir.core import Function, Op


@frozen
class RenameOps(mp.FunctionPass):
    """op(name="a") → op(name="<prefix>a"), for the ops that `ops` means."""

    prefix: str = "their_"
    """What the new names start with."""
    case: Literal["kept", "upper"] = "kept"
    ops: mp.Filter = mp.everything

    def run(self, fn: Function, cx: mp.Context) -> int:
        found = [op for op in mp.matching_ops(fn, self.ops) if op.name and not op.name.startswith(self.prefix)]
        for op in found:
            name = op.name if self.case == "kept" else op.name.upper()
            op.set_attribute("name", Const.of(f"{self.prefix}{name}"))
            cx.made(op)
        return len(found)


@frozen
class Clip:
    """Where an activation ends."""

    at: float = 6.0
    """The largest value that it yields."""


@frozen
class ClipRelus(mp.OpPass):
    """relu(x) → clip(x, 0, at), for the ops that the rules choose."""

    configs = (Clip,)
    op_types = ("relu",)
    min_opset = mp.IOS17

    def rewrite(self, op: Op, config: Clip, cx: mp.Context) -> int | str:
        if config.at <= 0:
            return "nothing would be left of it"
        rw = cx.rewriter
        rw.replace(op, rw.op("clip", x=op["x"], alpha=0.0, beta=config.at))
        return 1
