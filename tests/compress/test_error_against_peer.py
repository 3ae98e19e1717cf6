"""Squared errors beside those of coremltools' own functions, on the same weights."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any, Final

import numpy as np
import pytest
from attrs import evolve

from ir.opset import IOS18
from ir.tensors import Array
from mlpasses.compress.palettize import PalettizeWeights
from mlpasses.compress.prune import PruneWeights
from mlpasses.compress.quantize import QuantizeWeights
from mlpasses.compress.weight_pass import WeightPass
from mlpasses.config import NM, Magnitude, Palettize, Quantize, Threshold
from mlpasses.manager import run
from tests.compress.models import decoded, linears

ROWS: Final = 64
COLUMNS: Final = 256


def _weights() -> dict[str, Array]:
    """Distributions as weights have them, and worse ones; in fp16, and some in fp32."""
    rng = np.random.default_rng(4)
    shape = (ROWS, COLUMNS)
    outliers = rng.standard_normal(shape)
    outliers[rng.integers(0, ROWS, 12), rng.integers(0, COLUMNS, 12)] *= 30
    shifted = rng.standard_normal(shape) * 0.3 + 1
    gated = np.maximum(rng.standard_normal(shape), 0)
    found = {
        "normal": rng.standard_normal(shape) * 0.02,
        "laplace": rng.laplace(size=shape) * 0.05,
        "heavy": rng.standard_t(2, shape) * 0.1,
        "uniform": rng.uniform(-1, 1, shape),
        "bimodal": rng.standard_normal(shape) * 0.1 + rng.choice((-1, 1), shape),
        "outliers": outliers,
        "shifted": shifted,
        "gated": gated,
        "scaled": rng.standard_normal(shape) * np.exp(rng.standard_normal((ROWS, 1)) * 2),
        "sparse": rng.standard_normal(shape) * (rng.random(shape) < 0.3),
        "tiny": rng.standard_normal(shape) * 2e-5,
        "large": rng.standard_normal(shape) * 9000,
        "few": rng.integers(-5, 6, shape) * 0.25,
    }
    halves = {name: weight.astype(np.float16) for name, weight in found.items()}
    return {**halves, **{f"{name}32": found[name].astype(np.float32) for name in ("normal", "heavy", "shifted", "scaled")}}


WEIGHTS: Final = _weights()


def some(number: int) -> dict[str, Array]:
    """A third of the weights, another for each of three numbers: coremltools takes seconds for a table. All of them in a full run."""
    return dict(list(WEIGHTS.items())[number % 3 :: 3]) if os.environ.get("MLPASSES_FULL") != "1" else WEIGHTS


def of_ours(weight_pass: WeightPass, weights: Mapping[str, Array] = WEIGHTS) -> dict[str, Array]:
    """The numbers of each weight after the pass."""
    found = {}
    for dtype in (np.float16, np.float32):
        alike = {name: weight for name, weight in weights.items() if weight.dtype == dtype}
        program = run(linears(alike, IOS18), weight_pass).program
        dense = {op.output.name: op for op in program.ops("const")}
        found.update({name: dense[name].attributes["val"].numpy() if name in dense else decoded(program, name) for name in alike})
    return found


def of_peer(compress: Callable[[Array], Array], weights: Mapping[str, Array] = WEIGHTS) -> dict[str, Array]:
    """The numbers of each weight as coremltools has them."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return {name: compress(weight.copy()) for name, weight in weights.items()}


def errors(values: Mapping[str, Array]) -> dict[str, float]:
    """The squared error of each weight; infinite for numbers that are not finite."""
    found = {}
    for name, value in values.items():
        weight = WEIGHTS[name].astype(np.float64)
        error = float(np.square(value.astype(np.float64) - weight).sum())
        found[name] = error if math.isfinite(error) else math.inf
    return found


def above(ours: dict[str, float], theirs: dict[str, float], factor: float = 1.0) -> dict[str, float]:
    """The weights whose error is more than `factor` times that of coremltools, and how many times."""
    assert ours.keys() == theirs.keys()
    return {name: ours[name] / error for name, error in theirs.items() if ours[name] > factor * error}


def totals(ours: dict[str, float], theirs: dict[str, float]) -> tuple[float, float]:
    """The sums of errors, each weight's in proportion to its own energy: else the large ones would be all that counts."""
    finite = [name for name, error in theirs.items() if error < math.inf]
    energy = {name: float(np.square(WEIGHTS[name].astype(np.float64)).sum()) for name in finite}
    return sum(ours[name] / energy[name] for name in finite), sum(theirs[name] / energy[name] for name in finite)


def decibels(ours: float, theirs: float) -> float:
    return 10 * math.log10(theirs / ours)


# Quantization

MODES: Final = {"symmetric": "LINEAR_SYMMETRIC", "asymmetric": "LINEAR"}
BLOCKS: Final = {"per-tensor": [0, 0], "per-channel": [1, 0], "per-block": [1, 32]}
GRID: Final = [
    Quantize(dtype, mode, granularity)  # type: ignore[arg-type]  # mypy does not see through product
    for dtype, mode, granularity in product(("int8", "uint8", "int4", "uint4"), MODES, BLOCKS)
]


def quantized_by_peer(config: Quantize) -> dict[str, Array]:
    from coremltools.optimize.coreml._quantization_passes import linear_quantize_weights

    def compress(weight: Array) -> Array:
        signed = config.dtype.startswith("int")
        params = linear_quantize_weights.blockwise_compress(
            weight, config.integers.bits, MODES[config.mode], signed, BLOCKS[config.granularity]
        )
        value: Array = linear_quantize_weights.decompress(params)
        return value

    return of_peer(compress)


def test_scales_from_extremes_are_no_worse_in_total_and_no_weight_is_above_a_fifth_more() -> None:
    ours, theirs = 0.0, 0.0
    for config in GRID:
        own, peer = errors(of_ours(QuantizeWeights(config))), errors(quantized_by_peer(config))
        assert not above(own, peer, 1.2), config.scheme
        ours, theirs = (a + b for a, b in zip((ours, theirs), totals(own, peer), strict=True))
    print(f"extremes: {decibels(ours, theirs):.3f} dB better than coremltools")
    assert ours <= theirs


@pytest.mark.parametrize("config", GRID, ids=lambda config: config.scheme)
def test_searched_scales_are_worse_on_no_weight(config: Quantize) -> None:
    assert not above(errors(of_ours(QuantizeWeights(evolve(config, scales="searched")))), errors(quantized_by_peer(config)))


def test_searched_scales_are_better_in_total_for_int4() -> None:
    ours, theirs = 0.0, 0.0
    for config in GRID:
        if config.dtype == "int4":
            own, peer = errors(of_ours(QuantizeWeights(evolve(config, scales="searched")))), errors(quantized_by_peer(config))
            here = totals(own, peer)
            normal = decibels(own["normal"], peer["normal"])
            print(f"{config.scheme}: {decibels(*here):.2f} dB better than coremltools, {normal:.2f} dB on a normal weight")
            ours, theirs = ours + here[0], theirs + here[1]
    print(f"int4, searched: {decibels(ours, theirs):.2f} dB better than coremltools")
    assert ours < theirs


# Palettization

WITHIN: Final = 1.0005
"""Scalar tables are within this of the optimum."""


def greatest(weight: Array) -> Array:
    """The greatest magnitude of each output channel, where it is not 0."""
    found: Array = np.abs(weight).max(axis=1, keepdims=True)
    found[found == 0] = 1
    return found


def palettized_by_peer(config: Palettize, weights: Mapping[str, Array] = WEIGHTS) -> dict[str, Array]:
    from coremltools.optimize.coreml._quantization_passes import palettize_weights

    def compress(weight: Array) -> Array:
        scale = np.ones((1, 1), weight.dtype) if config.per_channel_scale == "none" else greatest(weight)
        params = palettize_weights.blockwise_compress(
            weight / scale, config.mode.upper(), config.nbits, [config.group_size or 0, 0], cluster_dim=config.cluster_dim, channel_axis=0
        )
        value: Array = palettize_weights.decompress(params) * scale
        return value.astype(weight.dtype)

    return of_peer(compress, weights)


def assert_within(config: Palettize, weights: Mapping[str, Array], factor: float) -> None:
    """Whether no weight's error is more than `factor` times that of coremltools."""
    own = errors(of_ours(PalettizeWeights(config), weights))
    peer = errors(palettized_by_peer(config, weights))
    print(f"{config.scheme}: {decibels(*totals(own, peer)):.4f} dB better than coremltools")
    assert not above(own, peer, factor)


@pytest.mark.parametrize("nbits", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("group_size", [None, 16], ids=["per-tensor", "groups"])
def test_tables_by_kmeans_are_within_the_bound_on_every_weight(nbits: Any, group_size: int | None) -> None:
    assert_within(Palettize(nbits, group_size=group_size), some(nbits), WITHIN)


@pytest.mark.parametrize("nbits", [2, 4, 6])
@pytest.mark.parametrize("scaled", ["chained", "folded"])
def test_tables_behind_scales_per_channel_are_within_the_bound_on_every_weight(nbits: Any, scaled: Any) -> None:
    assert_within(Palettize(nbits, per_channel_scale=scaled), some(nbits // 2), WITHIN)


@pytest.mark.parametrize("nbits", [2, 4])
@pytest.mark.parametrize("dim", [2, 4])
def test_vectors_by_kmeans_are_no_worse_than_a_fiftieth_more(nbits: Any, dim: Any) -> None:
    assert_within(Palettize(nbits, cluster_dim=dim), some(nbits + dim // 2), 1.02)


@pytest.mark.parametrize("nbits", [2, 4, 8])
def test_uniform_tables_are_no_worse_than_a_tenth_more(nbits: Any) -> None:
    """Both round the same table, each in its own way, and where an entry lies near the many small values decides."""
    assert_within(Palettize(nbits, "uniform"), WEIGHTS, 1.1)


# Pruning


def zeros(weight_pass: PruneWeights) -> dict[str, int]:
    """How many zeros each weight has."""
    return {name: int(np.count_nonzero(value == 0)) for name, value in of_ours(weight_pass).items()}


def zeros_of_peer(compress: str, *settings: Any) -> dict[str, int]:
    from coremltools.optimize.coreml._quantization_passes import prune_weights

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        made = {name: getattr(prune_weights, compress)(weight.copy(), *settings) for name, weight in WEIGHTS.items()}
    return {name: int(np.count_nonzero(prune_weights.decompress(params) == 0)) for name, params in made.items()}


TIED: Final = ("few", "sparse", "gated")
"""Weights many of whose magnitudes are equal: coremltools makes all of those zero that are as small as the last."""


@pytest.mark.parametrize("sparsity", [0.25, 0.5, 0.75, 0.9])
def test_as_many_elements_become_zero_as_with_coremltools_where_no_magnitudes_are_equal(sparsity: float) -> None:
    own, peer = zeros(PruneWeights(Magnitude(sparsity))), zeros_of_peer("compress_by_magnitude", sparsity)
    size = ROWS * COLUMNS
    for name, count in own.items():
        assert count == max(math.floor(sparsity * size), int(np.count_nonzero(WEIGHTS[name] == 0))), name
        assert count <= peer[name], name
        ties = int(np.bincount(np.unique(np.abs(WEIGHTS[name]), return_inverse=True)[1].reshape(-1)).max())
        assert name in TIED or peer[name] - count <= ties, name


def test_magnitudes_up_to_a_threshold_become_zero_as_with_coremltools() -> None:
    """But for weights that would not become smaller, which coremltools makes larger."""
    own, peer = zeros(PruneWeights(Threshold(0.05))), zeros_of_peer("compress_by_threshold", 0.05, 0.0)
    for name, count in own.items():
        pays = peer[name] * WEIGHTS[name].itemsize > ROWS * COLUMNS / 8
        assert count == (peer[name] if pays else np.count_nonzero(WEIGHTS[name] == 0)), name


@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 4), (3, 4), (5, 7)])
@pytest.mark.parametrize(("dim", "axis"), [("output", 0), ("input", 1)])
def test_n_of_m_become_zero_as_with_coremltools(n: int, m: int, dim: Any, axis: int) -> None:
    names = [name for name in WEIGHTS if name not in TIED]
    own, peer = zeros(PruneWeights(NM(n, m, dim))), zeros_of_peer("compress_by_nm_sparsity", (n, m), axis)
    assert {name: own[name] for name in names} == {name: peer[name] for name in names}


@pytest.mark.parametrize("size", [2, 4, 16])
@pytest.mark.parametrize(("dim", "axis"), [("output", 0), ("input", 1)])
def test_blocks_become_zero_as_with_coremltools(size: int, dim: Any, axis: int) -> None:
    own = zeros(PruneWeights(Magnitude(0.5, size, dim)))
    peer = zeros_of_peer("compress_by_magnitude", 0.5, size, axis)
    for name, count in own.items():
        assert count <= peer[name] or name == "large", name  # whose norms overflow there, and nothing becomes zero
        if name in ("normal32", "heavy32", "scaled32"):
            assert count == peer[name], name
