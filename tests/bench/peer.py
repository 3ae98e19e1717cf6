"""What coremltools does in the benchmarks: `python tests/bench/peer.py JOB SOURCE TARGET`."""

from __future__ import annotations

import sys
import warnings
from typing import Any


def noop(model: Any) -> Any:
    """The whole machinery around a pass that does nothing."""
    from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
    from coremltools.models.utils import _apply_graph_pass

    class Nothing(AbstractGraphPass):  # type: ignore[misc]  # coremltools is untyped
        def apply(self, prog: Any) -> None: ...

    return _apply_graph_pass(model, Nothing())


def quantize(model: Any) -> Any:
    """int8, symmetric, a scale per channel."""
    import coremltools.optimize.coreml as cto

    config = cto.OpLinearQuantizerConfig(mode="linear_symmetric", dtype="int8", granularity="per_channel", weight_threshold=2048)
    return cto.linear_quantize_weights(model, cto.OptimizationConfig(config))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    import coremltools as ct

    job, source, target = sys.argv[1:]
    {"noop": noop, "quantize": quantize}[job](ct.models.MLModel(source, skip_model_load=True)).save(target)
