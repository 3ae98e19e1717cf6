"""What plans and reports call a scheme: all that tells it from another one."""

from __future__ import annotations

import pytest

from mlpasses.config import Magnitude, Palettize, Quantize, QuantizeLut


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (Quantize(), "int8 per-channel symmetric"),
        (Quantize("uint4", "asymmetric", "per-tensor"), "uint4 per-tensor asymmetric"),
        (Quantize("int4", granularity="per-block"), "int4 per-block 32 symmetric"),
        (Quantize("int4", granularity="per-block", block_size=16), "int4 per-block 16 symmetric"),
        (Quantize("int4", granularity="per-block", block_size=(1, 8)), "int4 per-block 1×8 symmetric"),
        (Quantize("int4", scales="searched"), "int4 per-channel symmetric, searched"),
        (Quantize(precision="fp16"), "int8 per-channel symmetric, fp16 scales"),
        (QuantizeLut(scales="searched"), "tables int8 per-tensor symmetric, searched"),
        (Palettize(4), "lut 4-bit kmeans per-tensor"),
        (Palettize(None, mode="unique", precision="fp16"), "lut fewest bits unique per-tensor, fp16 tables"),
        (Palettize(6, cluster_dim=2, group_size=8), "lut 6-bit kmeans vectors of 2 groups of 8"),
        (Magnitude(0.75, block_size=4), "sparse 75%, blocks of 4 output channels"),
    ],
)
def test_a_scheme_in_words(config: Magnitude | Palettize | Quantize | QuantizeLut, words: str) -> None:
    assert config.scheme == words
