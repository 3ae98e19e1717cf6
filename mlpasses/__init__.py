"""A graph-pass compiler for Core ML ML Programs.

    import mlpasses as mp

    program = mp.load("Encoder.mlpackage")
    pipeline = mp.Pipeline(
        mp.RaiseOpset("iOS18"),
        mp.QuantizeWeights(mp.Rules((mp.name("*lm_head*"), None), (mp.numel >= 65536, mp.Quantize()))),
        mp.Cleanup(),
    )
    print(pipeline.plan(program))
    mp.run(program, pipeline).save("Encoder-w8.mlpackage")

Names are imported when they are first used (PEP 562): `import mlpasses` itself costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ir.core import Program
    from ir.diagnostics import (
        EvaluationError,
        InvalidProgramError,
        MLPassesError,
        MutationError,
        PackageError,
        ParseError,
        UnsupportedModelError,
    )
    from ir.mil.load import load_program as load
    from ir.opset import IOS15, IOS16, IOS17, IOS18, IOS26, Opset
    from mlpasses.cleanup.casts import MergeCasts
    from mlpasses.cleanup.cleanup import Cleanup
    from mlpasses.cleanup.cse import CommonSubexpressions
    from mlpasses.cleanup.dce import DeadCode
    from mlpasses.cleanup.dedupe import DeduplicateConsts
    from mlpasses.cleanup.fold import FoldConstants
    from mlpasses.cleanup.names import SanitizeNames
    from mlpasses.cleanup.noops import RemoveNoops
    from mlpasses.cleanup.reshapes import MergeReshapes
    from mlpasses.cleanup.sort import SortTopologically
    from mlpasses.cleanup.transposes import MergeTransposes
    from mlpasses.compress.decompress import DecompressWeights
    from mlpasses.compress.fuse_joint import FuseJoint
    from mlpasses.compress.palettize import PalettizeWeights
    from mlpasses.compress.prune import PruneWeights
    from mlpasses.compress.quantize import QuantizeWeights
    from mlpasses.compress.quantize_luts import QuantizeLuts
    from mlpasses.config import NM, Magnitude, Palettize, Quantize, QuantizeLut, Threshold
    from mlpasses.context import Context
    from mlpasses.contract import Preserved
    from mlpasses.errors import ConfigError, PassError, RecipeError
    from mlpasses.manager import Result, run
    from mlpasses.op_pass import OpPass
    from mlpasses.passes import FunctionPass, Pass, ProgramPass
    from mlpasses.pipeline import Pipeline, Repeat
    from mlpasses.plan import Plan
    from mlpasses.progress import ProgressCallback
    from mlpasses.raising import RaiseOpset
    from mlpasses.recipe import dump_recipe, load_recipe, parse_pipeline
    from mlpasses.report import Note, Report, WeightRow
    from mlpasses.rules import Rule, Rules, Skip
    from mlpasses.select import (
        Filter,
        consumer,
        dtype,
        everything,
        function,
        matching_ops,
        name,
        nbytes,
        nothing,
        numel,
        op_type,
        opset,
        param,
        rank,
    )

__all__ = [
    "IOS15", "IOS16", "IOS17", "IOS18", "IOS26", "NM",
    "Cleanup", "CommonSubexpressions", "ConfigError", "Context", "DeadCode", "DecompressWeights", "DeduplicateConsts", "EvaluationError",
    "Filter", "FoldConstants", "FunctionPass", "FuseJoint", "InvalidProgramError", "MLPassesError", "Magnitude", "MergeCasts",
    "MergeReshapes", "MergeTransposes", "MutationError", "Note", "OpPass", "Opset", "PackageError", "Palettize", "PalettizeWeights",
    "ParseError", "Pass", "PassError", "Pipeline", "Plan", "Preserved", "Program", "ProgramPass", "ProgressCallback", "PruneWeights",
    "Quantize", "QuantizeLut", "QuantizeLuts", "QuantizeWeights", "RaiseOpset", "RecipeError", "RemoveNoops", "Repeat", "Report",
    "Result", "Rule", "Rules", "SanitizeNames", "Skip", "SortTopologically", "Threshold", "UnsupportedModelError", "WeightRow",
    "__version__",
    "consumer", "dtype", "dump_recipe", "everything", "function", "load", "load_recipe", "matching_ops", "name", "nbytes", "nothing",
    "numel", "op_type", "opset", "param", "parse_pipeline", "rank", "run",
]  # fmt: skip

_HOMES: Final = {
    "ir.core": ("Program",),
    "ir.diagnostics": (
        "EvaluationError", "InvalidProgramError", "MLPassesError", "MutationError", "PackageError", "ParseError", "UnsupportedModelError",
    ),
    "ir.opset": ("IOS15", "IOS16", "IOS17", "IOS18", "IOS26", "Opset"),
    "mlpasses.cleanup.casts": ("MergeCasts",),
    "mlpasses.cleanup.cleanup": ("Cleanup",),
    "mlpasses.cleanup.cse": ("CommonSubexpressions",),
    "mlpasses.cleanup.dce": ("DeadCode",),
    "mlpasses.cleanup.dedupe": ("DeduplicateConsts",),
    "mlpasses.cleanup.fold": ("FoldConstants",),
    "mlpasses.cleanup.names": ("SanitizeNames",),
    "mlpasses.cleanup.noops": ("RemoveNoops",),
    "mlpasses.cleanup.reshapes": ("MergeReshapes",),
    "mlpasses.cleanup.sort": ("SortTopologically",),
    "mlpasses.cleanup.transposes": ("MergeTransposes",),
    "mlpasses.compress.decompress": ("DecompressWeights",),
    "mlpasses.compress.fuse_joint": ("FuseJoint",),
    "mlpasses.compress.palettize": ("PalettizeWeights",),
    "mlpasses.compress.prune": ("PruneWeights",),
    "mlpasses.compress.quantize": ("QuantizeWeights",),
    "mlpasses.compress.quantize_luts": ("QuantizeLuts",),
    "mlpasses.config": ("NM", "Magnitude", "Palettize", "Quantize", "QuantizeLut", "Threshold"),
    "mlpasses.context": ("Context",),
    "mlpasses.contract": ("Preserved",),
    "mlpasses.errors": ("ConfigError", "PassError", "RecipeError"),
    "mlpasses.manager": ("Result", "run"),
    "mlpasses.op_pass": ("OpPass",),
    "mlpasses.passes": ("FunctionPass", "Pass", "ProgramPass"),
    "mlpasses.pipeline": ("Pipeline", "Repeat"),
    "mlpasses.plan": ("Plan",),
    "mlpasses.progress": ("ProgressCallback",),
    "mlpasses.raising": ("RaiseOpset",),
    "mlpasses.recipe": ("dump_recipe", "load_recipe", "parse_pipeline"),
    "mlpasses.report": ("Note", "Report", "WeightRow"),
    "mlpasses.rules": ("Rule", "Rules", "Skip"),
    "mlpasses.select": (
        "Filter", "consumer", "dtype", "everything", "function", "matching_ops", "name", "nbytes", "nothing", "numel", "op_type", "opset",
        "param", "rank",
    ),
}  # fmt: skip
"""Where the public names live. The imports above say the same to type checkers; a test holds the two together."""

_SOURCES: Final = {
    "load": ("ir.mil.load", "load_program"),
    **{name: (module, name) for module, names in _HOMES.items() for name in names},
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = _version()
    elif name in _SOURCES:
        module, attribute = _SOURCES[name]
        value = getattr(_imported(module), attribute)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def _imported(module: str) -> ModuleType:
    """A module, without the collector: what modules define is no garbage, and it visits all of that again and again (10 of 250 ms)."""
    from ir.collector import collector_paused

    with collector_paused():
        return import_module(module)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("mlpasses")
    except PackageNotFoundError:
        return "0+unknown"  # run from a source tree that was never installed


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
