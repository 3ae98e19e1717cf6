"""Models that others compressed jointly: read, compressed further, and held against what we make of the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pytest

from ir.core import Program
from ir.mil.load import load_program
from ir.opset import IOS18, IOS26, Opset
from ir.tensors import Array
from mlpasses.candidates import Bystander, Candidate, survey
from mlpasses.compress.fuse_joint import FuseJoint
from mlpasses.compress.joint import Scheme, row_of
from mlpasses.compress.palettize import PalettizeWeights
from mlpasses.compress.prune import PruneWeights
from mlpasses.compress.quantize import QuantizeWeights
from mlpasses.compress.quantize_luts import QuantizeLuts
from mlpasses.compress.weight_pass import WeightPass
from mlpasses.config import Magnitude, Palettize, Quantize, QuantizeLut
from mlpasses.forms.canonical import canonical
from mlpasses.forms.decoding import decoded
from mlpasses.manager import run
from mlpasses.pipeline import Pipeline
from mlpasses.raising import RaiseOpset
from mlpasses.rules import Rules
from mlpasses.select import name
from tests import oracle
from tests.compress.joints import values
from tests.compress.models import assert_decoded_alike
from tests.compress.peers import CHAINS, WEIGHTS, Peers, weights_of_ops
from tests.corpus import NAMES, Corpus


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Peers:
    return Peers(tmp_path_factory.mktemp("peers"))


chains = pytest.mark.parametrize(("chain", "opset"), CHAINS, ids=[f"{chain.replace(' ', '-')}-{opset}" for chain, opset in CHAINS])


def compressed(program: Program) -> list[Candidate]:
    """The compressed weights, all of which have to be recognized."""
    found = list(survey(program))
    assert [each.reason for each in found if isinstance(each, Bystander) and "constexpr" in each.scheme] == []
    weights = [each for each in found if isinstance(each, Candidate) and each.form is not None]
    assert len(weights) == len(WEIGHTS)
    return weights


# Read


@chains
def test_its_chains_are_read_as_it_means_them(chain: str, opset: Opset, peers: Peers) -> None:
    path = peers.path(chain, opset)
    theirs = oracle.decompressed_values(path)
    for each in compressed(load_program(path)):
        assert each.form is not None
        assert each.opset is opset
        assert oracle.same_bits(decoded(each.form), theirs[each.name]), each.name


@chains
def test_fusing_leaves_its_values_and_what_it_wrote_in_order(chain: str, opset: Opset, peers: Peers, tmp_path: Path) -> None:
    before = load_program(peers.path(chain, opset))
    result = run(before, FuseJoint())
    assert {name: value.tobytes() for name, value in values(result.program).items()} == {
        name: value.tobytes() for name, value in values(before).items()
    }
    for each in compressed(result.program):
        assert each.form is not None
        assert canonical(each.form, opset) is each.form
    assert run(result.program, FuseJoint()).report.passes[0].changes == 0
    assert_decoded_alike(result.program, result.save(tmp_path / "m.mlpackage"))


@pytest.mark.parametrize(("chain", "opset", "expected"), [
    ("L Qt", IOS18, 0), ("Qt L", IOS18, 0), ("Qc L", IOS18, 0), ("P L Qt", IOS18, 0), ("Ls Qt", IOS18, 3),
    ("Qt L", IOS26, 0), ("Qc L", IOS26, 0), ("P L Qt", IOS26, 3), ("P Lg Qt", IOS26, 3), ("P Qc", IOS26, 0),
])  # fmt: skip
def test_fusing_changes_what_is_in_another_order(chain: str, opset: Opset, expected: int, peers: Peers) -> None:
    result = run(load_program(peers.path(chain, opset)), FuseJoint())
    assert result.report.passes[0].changes == expected


# Compressed further

FURTHER: Final[dict[Scheme, WeightPass]] = {
    "prune": PruneWeights(Magnitude(0.75, min_elements=1)),
    "quantize": QuantizeWeights(Quantize(min_elements=1)),
    "palettize": PalettizeWeights(Palettize(2, min_elements=1)),
}


@chains
@pytest.mark.parametrize("scheme", FURTHER)
def test_each_pass_goes_on_where_it_left_off(chain: str, opset: Opset, scheme: Scheme, peers: Peers, tmp_path: Path) -> None:
    """As the table says; pruning leaves vectors, and tables for each few elements are not smaller than these."""
    before = load_program(peers.path(chain, opset))
    forms = {each.name: each.form for each in compressed(before)}
    if scheme == "prune" and "Lv" in chain:
        assert FURTHER[scheme].plan(before).findings
        return
    result = run(before, FURTHER[scheme])
    rows = {row.name: row for row in result.report.weights if row.name in forms}
    assert rows.keys() == forms.keys()
    for weight, row in rows.items():
        form = forms[weight]
        assert form is not None
        if row_of(form, scheme).becomes is None:
            assert row.skipped is not None
            assert row.skipped.startswith("it is compressed already")
        else:
            assert row.skipped is None or row.skipped.startswith("it would not become smaller"), row
            assert row.skipped is None or "Qb" in chain, row
    saved = load_program(result.save(tmp_path / "m.mlpackage"))
    assert len(compressed(saved)) == len(WEIGHTS)
    assert_decoded_alike(saved, tmp_path / "m.mlpackage")


# Against its results

SEARCHED: Final = "searched"
OURS: Final[dict[str, WeightPass]] = {
    "Qt": QuantizeWeights(Quantize(granularity="per-tensor", scales=SEARCHED, min_elements=1)),
    "Qc": QuantizeWeights(Quantize(scales=SEARCHED, min_elements=1)),
    "Qb": QuantizeWeights(Quantize(granularity="per-block", block_size=8, scales=SEARCHED, min_elements=1)),
    "Q4": QuantizeWeights(Quantize("int4", scales=SEARCHED, min_elements=1)),
    "Qu": QuantizeWeights(Quantize("uint8", "asymmetric", "per-tensor", scales=SEARCHED, min_elements=1)),
    "L": PalettizeWeights(Palettize(4, min_elements=1)),
    "Lg": PalettizeWeights(Palettize(4, group_size=8, min_elements=1)),
    "Lv": PalettizeWeights(Palettize(4, cluster_dim=2, min_elements=1)),
}
"""The words of chains, but pruning, as our passes."""
COMPARED: Final = [(chain, opset) for chain, opset in CHAINS if "Ls" not in chain]
"""Scales per channel are along the input channels there, and what is quantized behind is not."""
compared = pytest.mark.parametrize(("chain", "opset"), COMPARED, ids=[f"{chain.replace(' ', '-')}-{opset}" for chain, opset in COMPARED])


def made(program: Program, chain: str, prune: WeightPass) -> Program:
    """What we make of a model by the words of a chain."""
    return run(program, Pipeline(*(OURS.get(word, prune) for word in chain.split()))).program


@compared
def test_its_sqnr_is_never_above_ours_at_its_settings(chain: str, opset: Opset, peers: Peers) -> None:
    """It prunes all elements of one magnitude where we prune as many as were asked for: at a half, more than that."""
    dense = load_program(peers.dense(opset))
    original, theirs = (weights_of_ops(values(program)) for program in (dense, load_program(peers.path(chain, opset))))
    ours = weights_of_ops(values(made(dense, chain, PruneWeights(Magnitude(0.5, min_elements=1)))))
    for op in WEIGHTS:
        assert sqnr(original[op], ours[op]) >= sqnr(original[op], theirs[op]), op


@compared
def test_its_sizes_are_never_below_ours_at_its_number_of_zeros(chain: str, opset: Opset, peers: Peers) -> None:
    program = load_program(peers.path(chain, opset))
    theirs = compressed(program)
    share = {each.name.partition("_")[0]: _zeros(each) for each in theirs}
    prune = PruneWeights(Rules(*((name(op), Magnitude(zeros, min_elements=1)) for op, zeros in share.items())))
    ours = {weight.name: weight.nbytes for weight in made(load_program(peers.dense(opset)), chain, prune).weights()}
    for each in theirs:
        op, _, _ = each.name.partition("_")
        assert next(size for found, size in ours.items() if found.startswith(f"{op}_")) <= each.nbytes, op


def _zeros(weight: Candidate) -> float:
    """The share of elements that a weight leaves out, and half an element, so that no rounding makes it one less."""
    assert weight.form is not None
    mask = weight.form.mask
    return 0.0 if mask is None else (weight.numel - int(np.count_nonzero(mask.numpy())) + 0.5) / weight.numel


def sqnr(original: Array, found: Array) -> float:
    """10·log10(Σw² / Σ(w-ŵ)²)"""
    wanted = original.astype(np.float64)
    error = np.square(wanted - found).sum()
    return float(10 * np.log10(np.square(wanted).sum() / error))


# Packages of others

LUTS: Final = ("silero_vad_256ms_palette_2bit", "silero_vad_256ms_palette_8bit", "silero_vad_unified_palette_4bit")
INTEGERS: Final = ("silero_vad_unified_int8", "silero_vad_256ms_pruned_int8", "silero_vad_unified_pruned_int8")
PACKAGES: Final = [name for name in (*LUTS, *INTEGERS) if name in NAMES]


@pytest.mark.parametrize("scheme", FURTHER)
@pytest.mark.parametrize("package", PACKAGES)
def test_each_pass_goes_on_with_real_packages(package: str, scheme: Scheme, corpus: Corpus, tmp_path: Path) -> None:
    before = run(load_program(corpus.path(package)), RaiseOpset("iOS18")).program
    forms = {each.name: each.form for each in survey(before) if isinstance(each, Candidate) and each.form is not None}
    assert forms
    result = run(before, FURTHER[scheme])
    rows = {row.name: row for row in result.report.weights if row.name in forms}
    for each, form in forms.items():
        assert form is not None
        skipped = rows[each].skipped
        if row_of(form, scheme).becomes is None:
            assert skipped is not None
            assert skipped.startswith("it is compressed already")
        else:
            assert skipped is None or skipped.startswith("it would not become smaller"), skipped
    saved = load_program(result.save(tmp_path / "m.mlpackage"))
    assert_decoded_alike(saved, tmp_path / "m.mlpackage")
    was, found = values(before), values(saved)
    assert all(np.array_equal(was[each], found[each], equal_nan=True) for each, row in rows.items() if row.skipped is not None)


@pytest.mark.parametrize("package", [name for name in LUTS if name in NAMES])
def test_tables_of_real_packages_are_quantized(package: str, corpus: Corpus, tmp_path: Path) -> None:
    result = run(load_program(corpus.path(package)), Pipeline(RaiseOpset("iOS18"), QuantizeLuts(QuantizeLut(min_elements=1))))
    saved = load_program(result.save(tmp_path / "m.mlpackage"))
    assert any("int8 entries" in weight.scheme for weight in saved.weights())
    assert_decoded_alike(saved, tmp_path / "m.mlpackage")
