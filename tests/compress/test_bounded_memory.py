"""The work on one weight in bounded memory: no job holds the dense weight, its unpacked codes or its mask as bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from attrs import evolve

from ir.flows import SLAB, Computed, Flow, Room, gathered, of_array, of_tensor
from ir.packing import packed_size
from ir.statistics import difference_of, statistics_of
from ir.tensors import Array, ArrayTensor, PackedTensor, Tensor
from ir.types import FP16, INT4, INT8, UINT1, UINT4, DType
from mlpasses.compress.bands import ELEMENTS, bands, taken
from mlpasses.compress.engines import Engines
from mlpasses.compress.jobs import Finished, Job
from mlpasses.compress.losses import loss_between, loss_if_finite, loss_of_entries
from mlpasses.compress.palettize_codes_job import PalettizeCodesJob
from mlpasses.compress.palettize_job import PalettizeJob
from mlpasses.compress.palettize_layout import Layout
from mlpasses.compress.prune_codes_job import PruneCodesJob
from mlpasses.compress.quantize_job import QuantizeJob
from mlpasses.compress.quantize_kept_job import QuantizeKeptJob
from mlpasses.compress.quantize_table_job import QuantizeTableJob
from mlpasses.compress.writer import Writer
from mlpasses.config import NM, Magnitude, Palettize, Quantize
from mlpasses.errors import ConfigError
from mlpasses.forms.decoding import dense_flow
from mlpasses.forms.form import Floats, Form, Indexed, Scaled
from mlpasses.numerics import loss
from mlpasses.numerics.affine import Affine, Loss, grid
from mlpasses.numerics.affine_numpy import NUMPY
from mlpasses.numerics.blocks import quantize_blocks
from mlpasses.scratch import Store
from tests.ir.constexpr_ops import peak_of

SIDE: Final = 1 << 12
SHAPE: Final = (SIDE, SIDE)
"""16 M elements, of which each may take a byte or more where nothing bounds them."""
ALL: Final = SIDE * SIDE


def mask() -> Tensor:
    """Of which every other bit is set."""
    return PackedTensor(np.full(ALL // 8, 0x55, np.uint8), UINT1, SHAPE)


def repeating(values: Array, count: int) -> Array:
    return np.resize(values, count)


def floats(count: int, dtype: Any = np.float16) -> ArrayTensor:
    drawn = np.random.default_rng(0).standard_normal(997) * 0.05
    return ArrayTensor(repeating(drawn.astype(dtype), count))


def packed(dtype: DType, *shape: int) -> Tensor:
    drawn = np.random.default_rng(1).integers(0, 255, 997, np.uint8)
    return PackedTensor(repeating(drawn, packed_size(int(np.prod(shape)), dtype.bits)), dtype, shape)


def dense(dtype: Any = np.float32) -> Tensor:
    return ArrayTensor(floats(ALL, dtype).numpy().reshape(SHAPE))


def scale(*shape: int) -> Tensor:
    return ArrayTensor(np.linspace(0.01, 0.02, int(np.prod(shape))).astype(np.float16).reshape(shape))


def sparse() -> Form:
    return Form(Floats(floats(ALL // 2)), mask=mask())


def sparse_integers(*blocks: int) -> Form:
    return Form(Scaled(packed(INT8, ALL // 2), scale(*blocks)), mask=mask())


def tables(groups: int, *, masked: bool = False, behind: bool = False) -> Form:
    lut = np.linspace(-1, 1, groups * 16).astype(np.float16).reshape(groups, 1, 16, 1)
    indices = packed(UINT4, ALL // 2) if masked else packed(UINT4, *SHAPE)
    return Form(Indexed(indices, Floats(ArrayTensor(lut))), scale(SIDE, 1) if behind else None, mask=mask() if masked else None)


def layout(groups: int) -> Layout:
    counts = (groups, 1)
    return Layout(0, 1, counts, counts, (SIDE, 1), FP16, (4,))


def palettized(form: Form, groups: int) -> Job:
    return PalettizeCodesJob("w", form, SHAPE, layout(groups), Palettize(4), 1)


COLUMNS: Final = Layout(1, 1, (1, 256), (1, 256), (1, SIDE), FP16, (4,))
"""Tables for groups of columns."""


def vectors(axis: int) -> Layout:
    """A table of 4 entries of 2 elements along an axis."""
    return Layout(axis, 2, (1, 1), (1, 1), (SIDE, 1) if axis == 0 else (1, SIDE), FP16, (2,))


def pairs() -> Tensor:
    """A mask that keeps every other pair of a row."""
    return PackedTensor(np.full(ALL // 8, 0x33, np.uint8), UINT1, SHAPE)


def pruned_vectors() -> Job:
    lut = np.linspace(-1, 1, 16 * 2).astype(np.float16).reshape(1, 1, 16, 2)
    form = Form(Indexed(packed(UINT4, SIDE, SIDE // 2), Floats(ArrayTensor(lut)), vector_axis=1))
    return PruneCodesJob("w", form, (SIDE, SIDE, 1), SHAPE, Magnitude(0.75, block_size=2), 1)


def rounded_tables(groups: int, **more: Any) -> Job:
    return PalettizeJob("w", dense(), layout(groups), Palettize(4, **more))


def chained(groups: int) -> Job:
    return PalettizeJob("w", dense(np.float16), layout(groups), Palettize(4, per_channel_scale="chained"))


def pruned(form: Form, config: Any = Magnitude(0.75)) -> Job:  # noqa: B008 - it is frozen
    return PruneCodesJob("w", form, (1, SIDE, SIDE), SHAPE, config, 1)


ONE: Final = Quantize(granularity="per-tensor")
BLOCKS: Final = Quantize("int4", granularity="per-block", block_size=32)
HALVES: Final = Quantize(precision="fp16")

JOBS: Final[dict[str, Callable[[], Job]]] = {
    "tables for groups of what a mask keeps": lambda: palettized(sparse(), 256),
    "a table for what a mask keeps": lambda: palettized(sparse(), 1),
    "tables for integers": lambda: palettized(Form(Scaled(packed(INT8, *SHAPE), scale(SIDE, 1))), 256),
    "a table for integers of several scales": lambda: palettized(Form(Scaled(packed(INT8, *SHAPE), scale(SIDE, 1))), 1),
    "tables for integers that a mask keeps": lambda: palettized(sparse_integers(SIDE, 1), 256),
    "a table for integers that a mask keeps": lambda: palettized(sparse_integers(1, 1), 1),
    "tables as integers": lambda: QuantizeTableJob("w", tables(256), (256, 1, 1, 1), Quantize(), 1),
    "tables under a mask as integers": lambda: QuantizeTableJob("w", tables(256, masked=True), (256, 1, 1, 1), Quantize(), 1),
    "tables with scales behind as integers": lambda: QuantizeTableJob("w", tables(1, behind=True), (1, 1, 1, 1), Quantize(), 1),
    "what a mask keeps as integers of channels": lambda: QuantizeKeptJob("w", sparse(), (SIDE, 1), Quantize(), 1),
    "what a mask keeps as integers of blocks": lambda: QuantizeKeptJob("w", sparse(), (SIDE, SIDE // 32), BLOCKS, 1),
    "what a mask keeps as integers of columns": lambda: QuantizeKeptJob("w", sparse(), (1, SIDE), Quantize(), 1),
    "what a mask keeps as integers of one scale": lambda: QuantizeKeptJob("w", sparse(), (1, 1), ONE, 1),
    "pruned integers": lambda: pruned(Form(Scaled(packed(INT8, *SHAPE), scale(SIDE, 1)))),
    "pruned integers of 4 bits": lambda: pruned(Form(Scaled(packed(INT4, *SHAPE), scale(SIDE, 1)))),
    "pruned integers, 2 of 4": lambda: pruned(Form(Scaled(packed(INT8, *SHAPE), scale(SIDE, 1))), NM(2, 4)),
    "pruned integers under a mask": lambda: pruned(sparse_integers(SIDE, 1), Magnitude(0.9)),
    "pruned indices": lambda: pruned(tables(256)),
    "pruned floats under a mask": lambda: pruned(sparse(), Magnitude(0.9)),
    "fp32 as integers of channels in fp16": lambda: QuantizeJob("w", dense(), (SIDE, 1), HALVES),
    "fp32 as integers of one scale in fp16": lambda: QuantizeJob("w", dense(), (1, 1), HALVES),
    "fp32 as tables of groups in fp16": lambda: rounded_tables(256),
    "fp32 as a table in fp16": lambda: rounded_tables(1),
    "fp32 as tables of columns in fp16": lambda: PalettizeJob("w", dense(), COLUMNS, Palettize(4)),
    "fp32 as a table of vectors in fp16": lambda: PalettizeJob("w", dense(), vectors(0), Palettize(2, cluster_dim=2)),
    "tables for columns of what a mask keeps": lambda: PalettizeCodesJob("w", sparse(), SHAPE, COLUMNS, Palettize(4), 1),
    "what a mask keeps as integers of a searched scale": lambda: QuantizeKeptJob("w", sparse(), (1, 1), evolve(ONE, scales="searched"), 1),
    "pruned indices of vectors": pruned_vectors,
    "tables behind which scales are": lambda: chained(256),
    "a table behind which scales are": lambda: chained(1),
}
"""The work on a weight of which nothing as large as itself is to be in memory: not a byte for each element."""


class TestJobs:
    @pytest.mark.parametrize("what", JOBS)
    def test_no_job_takes_more_than_bands_and_slabs(self, what: str) -> None:
        assert self.peak(JOBS[what]()) < ALL * 2 // 3  # dense, it is three times that; some 40 bytes each for 2^18

    @pytest.mark.parametrize(
        ("form", "axis"),
        [(Form(Floats(floats(ALL // 2)), mask=pairs()), 1), (Form(Scaled(packed(INT8, *SHAPE), scale(SIDE, 1))), 0)],
        ids=["that a mask keeps", "of integers with scales"],
    )
    def test_vectors_that_count_differently_take_a_sample_with_its_weights_besides(self, form: Form, axis: int) -> None:
        assert self.peak(PalettizeCodesJob("w", form, SHAPE, vectors(axis), Palettize(2, cluster_dim=2), 1)) < ALL * 4 // 5

    def peak(self, job: Job) -> int:
        sizes = job.sizes()
        out = Writer(Store(sizes.values()), {part: slot for slot, part in enumerate(sizes)})
        return peak_of(lambda: self.finished(job, out))

    def finished(self, job: Job, out: Writer) -> None:
        assert isinstance(job.run(Engines("numpy"), out), Finished)


class TestStatistics:
    def test_numbers_are_looked_at_piece_by_piece(self) -> None:
        form, original = tables(256, masked=True), dense(np.float16)
        whole = of_array(original.numpy())
        peak = peak_of(lambda: (statistics_of(dense_flow(form)), difference_of(dense_flow(form), whole)))
        assert peak < ALL  # pieces of 2^18 numbers as float64, some six of them


class TestLosses:
    def pairs(self, count: int) -> tuple[Array, Array]:
        random = np.random.default_rng(0)
        before = random.standard_normal(count).astype(np.float16)
        return before, (before + 0.01 * random.standard_normal(count)).astype(np.float16)

    @pytest.mark.parametrize("count", [0, 1, SLAB - 1, SLAB, 3 * SLAB + 5])
    def test_losses_of_flows_are_those_of_the_whole(self, count: int) -> None:
        before, after = self.pairs(count)
        for found in (
            loss_between(of_array(before), of_array(after), loss.between),
            loss_if_finite(of_array(before), of_array(after), loss.between),
        ):
            assert found is not None
            self.assert_alike(found, loss.between(before, after))

    @pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
    @pytest.mark.parametrize("dtype", [np.float16, np.float32])
    def test_what_is_not_finite_has_no_loss(self, value: float, dtype: Any) -> None:
        before = np.ones(SLAB + 2, dtype)
        after = before.copy()
        after[-1] = value
        assert loss_if_finite(of_array(before), of_array(after), loss.between) is None

    def test_the_loss_of_entries_is_that_of_the_elements(self) -> None:
        random = np.random.default_rng(0)
        before = random.standard_normal((3, 1, 8, 2)).astype(np.float16)
        after = (before + 0.01 * random.standard_normal(before.shape)).astype(np.float16)
        indices = random.integers(0, 7, (3, 1, 100))  # of the last entries nothing is
        after[:, :, 7] = np.inf
        groups = np.arange(3)[:, None, None]
        counts = np.stack([np.bincount(each.reshape(-1), minlength=8)[None] for each in indices])
        found = loss_of_entries(before, after, counts)
        assert found is not None
        self.assert_alike(found, loss.between(before[groups, 0, indices].reshape(-1), after[groups, 0, indices].reshape(-1)))
        after[1, 0, int(indices[1, 0, 0])] = np.inf
        assert loss_of_entries(before, after, counts) is None

    def assert_alike(self, found: Loss, whole: Loss) -> None:
        assert (found.signal, found.noise) == pytest.approx((whole.signal, whole.noise), rel=1e-9)
        assert found.worst == whole.worst


def counting(shape: tuple[int, ...]) -> Computed:
    """A flow of the numbers from 0 on, in pieces of 7."""
    count = int(np.prod(shape))

    def pieces(room: Room) -> Iterator[Array]:
        for start in range(0, count, 7):
            out = room(min(7, count - start))
            out[:] = np.arange(start, start + out.size)
            yield out

    return Computed(shape, np.dtype(np.float32), pieces, 1)


class TestArrays:
    def writer(self) -> Writer:
        return Writer(Store(()), {})

    @pytest.mark.parametrize("count", [0, 7, ELEMENTS, ELEMENTS + 5])
    def test_the_array_of_a_flow_has_its_elements_in_its_shape(self, count: int) -> None:
        found = self.writer().array(counting((count, 1)))
        assert found.shape == (count, 1)
        assert np.array_equal(found[:, 0], np.arange(count, dtype=np.float32))

    def test_what_lies_somewhere_is_not_copied(self) -> None:
        array = np.zeros(ELEMENTS + 1, np.float32)
        assert np.shares_memory(self.writer().array(of_array(array)), array)

    @pytest.mark.parametrize("flow", [dense_flow(Form(Scaled(packed(INT8, *SHAPE), scale(1, 1)))), of_tensor(packed(UINT4, *SHAPE))])
    def test_what_is_computed_or_unpacked_lies_in_a_scratch_file(self, flow: Flow) -> None:
        assert peak_of(lambda: self.writer().array(flow)) < 10 * SLAB

    def test_a_scratch_folder_that_is_not_there_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="there can be no scratch file"):
            Writer(Store((), tmp_path / "none"), {}).array(counting((ELEMENTS + 1,)))


class TestBands:
    @pytest.mark.parametrize(
        ("shape", "counts", "unit"),
        [((64, 1 << 16), (64, 1), 1), ((1, 64, 1 << 16), (1, 16, 1), 1 << 19), ((3, 1 << 21), (3, 1), 1), ((4, 4), (2, 1), 1)],
    )
    def test_bands_are_runs_of_whole_blocks(self, shape: tuple[int, ...], counts: tuple[int, ...], unit: int) -> None:
        cut = list(bands(shape, counts, unit))
        axis = cut[0].axis
        assert sum(band.counts[axis] for band in cut) == counts[axis]
        assert sum(band.shape[axis] for band in cut) == shape[axis]
        assert all(band.shape[axis] * counts[axis] == band.counts[axis] * shape[axis] for band in cut)
        assert all(band.size <= ELEMENTS or band.counts[axis] == 1 for band in cut)
        assert [band.first for band in cut] == [sum(each.size for each in cut[:at]) for at in range(len(cut))]

    def test_blocks_along_all_of_the_first_axis_are_one_band(self) -> None:
        flow = dense_flow(Form(Scaled(packed(INT8, 8, ELEMENTS), scale(1, 1))))
        ((band, values),) = taken(flow, list(bands(flow.shape, (1, 1), 1)), gathered)
        assert band.alone
        assert np.array_equal(values, gathered(flow))

    @pytest.mark.parametrize("counts", [(64, 1), (64, 1024), (1, 1), (1, 1 << 15), (4, 1)])
    def test_integers_of_bands_are_those_of_the_whole(self, counts: tuple[int, int]) -> None:
        form = Form(Scaled(packed(INT8, 64, 1 << 15), scale(64, 1)))
        levels = grid(4, signed=True, symmetric=False)

        def quantized(values: Any, blocks: tuple[int, ...]) -> tuple[Affine, Loss, Array]:
            codes: list[Array] = []
            affine, lost = quantize_blocks(values, blocks, levels, NUMPY, lambda at, part: codes.append(part.copy().reshape(-1)))
            return affine, lost, np.concatenate(codes)

        whole = quantized(gathered(dense_flow(form)), counts)
        cut = list(bands((64, 1 << 15), counts, NUMPY.chunk))
        found = [quantized(values, band.counts) for band, values in taken(dense_flow(form), cut, gathered)]
        assert np.array_equal(np.concatenate([each[0].scale for each in found]), whole[0].scale)
        assert np.array_equal(np.concatenate([each[0].zero_point for each in found]), whole[0].zero_point)
        assert np.array_equal(np.concatenate([each[2] for each in found]), whole[2])
        assert sum(each[1].noise for each in found) == pytest.approx(whole[1].noise, rel=1e-9)
