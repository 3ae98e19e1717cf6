"""coremltools as an oracle: whether it accepts a package, and what it takes the package's weights to be.

coremltools is imported when it is first asked (a second or two).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def accepted(path: str | Path) -> list[Any]:
    """The programs of a package as coremltools loads them: several for a pipeline of models.

    `MLModel` opens the package, the milproto frontend rebuilds each program op by op, inferring every type anew, and `Program.validate`
    looks at the result. What coremltools has against the package is raised as it raises it.
    """
    import coremltools as ct
    from coremltools.converters.mil.frontend.milproto.load import load

    model = ct.models.MLModel(str(path), skip_model_load=True)
    programs = []
    for spec in _programs(model.get_spec()):
        _forget_symbols()
        program = load(spec, specification_version=spec.specificationVersion, file_weights_dir=model.weights_dir or "")
        program.validate()
        programs.append(program)
    assert programs, f"{path} holds no ML Program"
    return programs


def _forget_symbols() -> None:
    """Lets coremltools name unknown sizes anew, with numbers that no file has.

    It counts them on through all that a process loads (is0, is1, …), and takes over the names that the shapes of lists have in a file.
    Where it comes to a number that a file has used, it refuses what it takes in any other process.
    """
    from coremltools.converters.mil.mil import program

    program.k_used_symbols.clear()
    program.k_num_internal_syms = 1 << 20


def decompressed_values(path: str | Path) -> dict[str, Array]:
    """What coremltools decompresses every constexpr result of a package to, by value name (`function/name` where there are several)."""
    from coremltools.optimize.coreml._quantization_passes import WeightDecompressor

    values: dict[str, Array] = {}
    for program in accepted(path):
        several = len(program.functions) > 1
        names = {
            function: {variable.name for op in _ops(block) if op.op_type.startswith("constexpr_") for variable in op.outputs}
            for function, block in program.functions.items()
        }
        WeightDecompressor(op_selector=lambda op: True).apply(program)
        for function, block in program.functions.items():
            for op in _ops(block):
                if op.op_type == "const" and op.outputs[0].name in names[function]:
                    name = op.outputs[0].name
                    values[f"{function}/{name}" if several else name] = np.asarray(op.outputs[0].val)
    return values


def same_bits(one: Array, other: Array) -> bool:
    """Whether two arrays are equal bit for bit, in type and shape too."""
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def _programs(spec: Any) -> Iterator[Any]:
    kind = spec.WhichOneof("Type")
    if kind == "mlProgram":
        yield spec
    elif kind in ("pipeline", "pipelineClassifier", "pipelineRegressor"):
        pipeline = spec.pipeline if kind == "pipeline" else getattr(spec, kind).pipeline
        for stage in pipeline.models:
            yield from _programs(stage)


def _ops(block: Any) -> Iterator[Any]:
    for op in list(block.operations):
        yield op
        for nested in op.blocks:
            yield from _ops(nested)
