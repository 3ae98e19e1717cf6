"""A pass in a package of its own."""

from typing import Literal

from attrs import frozen

import mlpasses as mp
from ir.const import Const
from ir.core import Function


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
