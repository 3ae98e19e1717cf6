"""Who does the work on arrays: NumPy, or compiled kernels with the same results.

Each is imported when it is asked for: a pass needs few of them, and Numba takes longer to import than a small model to compress.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from attrs import frozen

if TYPE_CHECKING:
    from mlpasses.numerics import affine, bitstream, loss, palette, sparsity, vector_kmeans

EngineName: TypeAlias = Literal["numpy", "numba"]


@frozen
class Engines:
    """The engines of one name, for each kind of work."""

    name: EngineName

    @property
    def affine(self) -> affine.Engine:
        """Linear quantization."""
        if self.name == "numpy":
            from mlpasses.numerics import affine_numpy

            return affine_numpy.NUMPY
        from mlpasses.numerics import affine_kernels

        return affine_kernels.NUMBA

    @property
    def palette(self) -> palette.Engine:
        """Tables of values."""
        if self.name == "numpy":
            from mlpasses.numerics import palette

            return palette.NUMPY
        from mlpasses.numerics import palette_kernels

        return palette_kernels.NUMBA

    @property
    def vectors(self) -> vector_kmeans.Engine:
        """Tables of vectors."""
        if self.name == "numpy":
            from mlpasses.numerics import vector_kmeans

            return vector_kmeans.NUMPY
        from mlpasses.numerics import vector_kernels

        return vector_kernels.NUMBA

    @property
    def sparsity(self) -> sparsity.Engine:
        """Pruning."""
        if self.name == "numpy":
            from mlpasses.numerics import sparsity

            return sparsity.NUMPY
        from mlpasses.numerics import sparsity_kernels

        return sparsity_kernels.NUMBA

    @property
    def pack(self) -> bitstream.Pack:
        """Codes of fewer than 8 bits as bytes."""
        if self.name == "numpy":
            from mlpasses.numerics import bitstream

            return bitstream.pack
        from mlpasses.numerics import bitstream_kernels

        return bitstream_kernels.pack

    @property
    def measure(self) -> loss.Between:
        """What a weight lost."""
        if self.name == "numpy":
            from mlpasses.numerics import loss

            return loss.between
        from mlpasses.numerics import loss_kernels

        return loss_kernels.between
