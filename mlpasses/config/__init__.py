"""The settings of compression schemes: what becomes of one weight.

Frozen, comparable, printable; checked when they are made, so that a mistake shows before anything runs. Names are imported when they are
first used (PEP 562): whoever needs the checks only does not pay for the schemes.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mlpasses.config.palettize import Palettize
    from mlpasses.config.prune import NM, Magnitude, Threshold
    from mlpasses.config.quantize import Quantize
    from mlpasses.config.tables import QuantizeLut

__all__ = ["NM", "Magnitude", "Palettize", "Quantize", "QuantizeLut", "Threshold"]

_HOMES: Final = {
    "NM": "prune",
    "Magnitude": "prune",
    "Palettize": "palettize",
    "Quantize": "quantize",
    "QuantizeLut": "tables",
    "Threshold": "prune",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
