"""The settings of compression schemes: what becomes of one weight.

Frozen, comparable, printable; checked when they are made, so that a mistake shows before anything runs.
"""

from mlpasses.config.palettize import Palettize
from mlpasses.config.prune import NM, Magnitude, Threshold
from mlpasses.config.quantize import Quantize
from mlpasses.config.tables import QuantizeLut

__all__ = ["NM", "Magnitude", "Palettize", "Quantize", "QuantizeLut", "Threshold"]
