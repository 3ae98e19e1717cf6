"""What coremltools does in the benchmarks: `python tests/bench/peer.py JOB SOURCE TARGET`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final


def noop(model: Any) -> Any:
    """The whole machinery around a pass that does nothing."""
    from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
    from coremltools.models.utils import _apply_graph_pass

    class Nothing(AbstractGraphPass):  # type: ignore[misc]  # coremltools is untyped
        def apply(self, prog: Any) -> None: ...

    return _apply_graph_pass(model, Nothing())


def quantize(model: Any) -> Any:
    """int8, symmetric, a scale per channel."""
    return _quantized(model, dtype="int8", granularity="per_channel")


def int4_blocks(model: Any) -> Any:
    """int4, symmetric, a scale for each 32 input channels."""
    return _quantized(model, dtype="int4", granularity="per_block", block_size=32)


def kmeans(model: Any) -> Any:
    """4-bit k-means, a table for each weight."""
    return _palettized(model, granularity="per_tensor")


def kmeans_groups(model: Any) -> Any:
    """4-bit k-means, a table for each 16 output channels."""
    return _palettized(model, granularity="per_grouped_channel", group_size=16)


def magnitude(model: Any) -> Any:
    """The three quarters of least magnitude as zeros."""
    import coremltools.optimize.coreml as cto

    config = cto.OpMagnitudePrunerConfig(target_sparsity=0.75, weight_threshold=2048)
    return cto.prune_weights(model, cto.OptimizationConfig(config))


def joint(model: Any) -> Any:
    """Half of the elements as zeros, 4-bit tables for each 16 output channels, entries of 8 bits."""
    import coremltools.optimize.coreml as cto

    pruner = cto.OpMagnitudePrunerConfig(target_sparsity=0.5, weight_threshold=2048)
    palettizer = cto.OpPalettizerConfig(mode="kmeans", nbits=4, granularity="per_grouped_channel", group_size=16, weight_threshold=2048)
    quantizer = cto.OpLinearQuantizerConfig(mode="linear_symmetric", dtype="int8", granularity="per_tensor", weight_threshold=0)
    pruned = cto.prune_weights(model, cto.OptimizationConfig(pruner))
    palettized = cto.palettize_weights(pruned, cto.OptimizationConfig(palettizer), joint_compression=True)
    return cto.linear_quantize_weights(palettized, cto.OptimizationConfig(quantizer), joint_compression=True)


def decompress(model: Any) -> Any:
    """Compressed weights as dense ones."""
    import coremltools.optimize.coreml as cto

    return cto.decompress_weights(model)


def _quantized(model: Any, **settings: Any) -> Any:
    import coremltools.optimize.coreml as cto

    config = cto.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=2048, **settings)
    return cto.linear_quantize_weights(model, cto.OptimizationConfig(config))


def _palettized(model: Any, **settings: Any) -> Any:
    import coremltools.optimize.coreml as cto

    config = cto.OpPalettizerConfig(mode="kmeans", nbits=4, weight_threshold=2048, **settings)
    return cto.palettize_weights(model, cto.OptimizationConfig(config))


JOBS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "noop": noop,
    "quantize": quantize,
    "int4-blocks": int4_blocks,
    "kmeans": kmeans,
    "kmeans-groups": kmeans_groups,
    "magnitude": magnitude,
    "joint": joint,
    "decompress": decompress,
}

if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    import coremltools as ct

    job, source, target = sys.argv[1:]
    JOBS[job](ct.models.MLModel(source, skip_model_load=True)).save(target)
