"""Models that coremltools compressed jointly, by all of its chains that work, built with it when they are first asked for.

A chain is words: `P` prunes half of the elements, `Q` quantizes, `L` palettizes, with what is behind as settings; `P Lg Qt` prunes,
palettizes in groups and quantizes the tables. Each word is a call of coremltools' own function, with a load, its pipeline and an export.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from attrs import field, frozen

from ir.opset import IOS18, IOS26, Opset
from ir.tensors import Array

WEIGHTS: Final[Mapping[str, tuple[int, ...]]] = {"lin": (48, 64), "conv": (32, 32, 3, 3), "mat": (64, 40)}
"""Ops, and the shapes of their weights."""

OLD: Final = (
    "P L", "P Lg", "P Qt", "P Qc", "P Qb", "P Q4", "P Qu", "L P", "Lg P", "Qt P", "Qc P", "Qb P", "Q4 P", "L Qt", "Lg Qt", "Lv Qt", "L Qu",
    "Qt L", "Qc L", "Qt Lg", "Qb L", "Qu L", "Ls Qt", "P L Qt", "P Lg Qt", "P L Qu", "L P Qt", "Lg P Qt",
)  # fmt: skip
"""What works for iOS18. Others crash, or lose the palettization (`P Qt L`, `Qt P L`)."""
NEW: Final = ("P L", "P Qc", "L P", "Qc P", "Qt L", "Qc L", "Qt Lg", "Qb L", "Qu L", "P L Qt", "P Lg Qt", "L P Qt")
"""Of what works for iOS26; tables cannot be quantized there unless pruning comes between."""
CHAINS: Final = [*((chain, IOS18) for chain in OLD), *((chain, IOS26) for chain in NEW)]


@frozen
class Peers:
    """The packages, by chain and opset. Read them, never write to them."""

    folder: Path
    _models: dict[tuple[str, Opset], Any] = field(init=False, factory=dict)

    def path(self, chain: str, opset: Opset) -> Path:
        path = self.folder / f"{chain.replace(' ', '-')}-{opset.target}.mlpackage"
        if not path.exists():
            self._model(chain, opset).save(str(path))
        return path

    def dense(self, opset: Opset) -> Path:
        """The model before any chain."""
        return self.path("", opset)

    def _model(self, chain: str, opset: Opset) -> Any:
        """The model behind a chain; what chains begin with alike is done once."""
        key = (chain, opset)
        if key not in self._models:
            earlier, _, word = chain.rpartition(" ")
            with _silent():
                self._models[key] = _step(word)(self._model(earlier, opset), bool(earlier)) if word else _dense(opset)
        return self._models[key]


def weights_of_ops(values: Mapping[str, Array]) -> dict[str, Array]:
    """Arrays by the op that they are a weight of, of arrays by what coremltools calls them."""
    return {op: next(value for name, value in values.items() if name.startswith(f"{op}_")) for op in WEIGHTS}


def _dense(opset: Opset) -> Any:
    import coremltools as ct
    from coremltools.converters.mil import Builder
    from coremltools.converters.mil.mil import types

    draw = np.random.default_rng(0)
    target = getattr(ct.target, opset.target)
    lin, conv, mat = ((draw.standard_normal(shape) * 0.05).astype(np.float16) for shape in WEIGHTS.values())

    @Builder.program(input_specs=[Builder.TensorSpec(shape, types.fp16) for shape in ((1, 64), (1, 32, 5, 5))], opset_version=target)  # type: ignore[untyped-decorator]
    def program(x: Any, image: Any) -> Any:
        one = Builder.linear(x=x, weight=lin, name="lin")
        other = Builder.matmul(x=x, y=mat, name="mat")
        return one, other, Builder.conv(x=image, weight=conv, name="conv")

    return ct.convert(program, minimum_deployment_target=target, skip_model_load=True)


def _step(word: str) -> Callable[[Any, bool], Any]:
    import coremltools.optimize.coreml as cto

    def quantized(**settings: Any) -> tuple[Any, Any]:
        settings = {"mode": "linear_symmetric", "dtype": "int8", "granularity": "per_tensor", **settings}
        return cto.linear_quantize_weights, cto.OpLinearQuantizerConfig(weight_threshold=0, **settings)

    def palettized(**settings: Any) -> tuple[Any, Any]:
        return cto.palettize_weights, cto.OpPalettizerConfig(mode="kmeans", nbits=4, weight_threshold=0, **settings)

    steps: dict[str, Callable[[], tuple[Any, Any]]] = {
        "P": lambda: (cto.prune_weights, cto.OpMagnitudePrunerConfig(target_sparsity=0.5, weight_threshold=0)),
        "Qt": quantized,
        "Qc": lambda: quantized(granularity="per_channel"),
        "Qb": lambda: quantized(granularity="per_block", block_size=8),
        "Q4": lambda: quantized(granularity="per_channel", dtype="int4"),
        "Qu": lambda: quantized(mode="linear", dtype="uint8"),
        "L": palettized,
        "Lg": lambda: palettized(granularity="per_grouped_channel", group_size=8),
        "Lv": lambda: palettized(cluster_dim=2),
        "Ls": lambda: palettized(enable_per_channel_scale=True),
    }
    function, config = steps[word]()
    return lambda model, joint: function(model, cto.OptimizationConfig(config), joint_compression=joint)


@contextlib.contextmanager
def _silent() -> Any:
    """Without its progress bars and warnings."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # blocks of zeros are divided by 0
            yield
    finally:
        logging.disable(level)
