"""`mlpasses palettize`, `quantize`, `prune` and `decompress`"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ir.builder import FunctionBuilder, build_program
from ir.opset import IOS15, IOS16, Opset
from ir.types import FP32, TensorType
from mlpasses import Quantize, QuantizeWeights, load, load_recipe
from mlpasses.options import options_of
from mlpasses.registry import pass_class
from tests.cli.conftest import Run, patched
from tests.cli.test_main import ENVIRONMENT
from tests.cli.test_run import files

SHORTHANDS = {"palettize": "palettize-weights", "quantize": "quantize-weights", "prune": "prune-weights"}

INTERRUPTED = """\
import os, signal, sys
from mlpasses.cli.main import main
from mlpasses.compress.prune_job import PruneJob

sent = []

def run(job, engine, out, run=PruneJob.run):
    outcome = run(job, engine, out)
    if not sent:
        sent.append(job.name)
        os.kill(os.getpid(), signal.{number})
    return outcome

PruneJob.run = run
sys.exit(main())
"""
"""`mlpasses`, to which a signal arrives while weights are worked on."""


def written(folder: Path, opset: Opset) -> str:
    """The name of a new model for an opset, with one weight of fp32."""
    with FunctionBuilder("main", {"x": TensorType(FP32, (1, 64))}, opset) as f:
        weight = f.const(np.arange(4096, dtype=np.float32).reshape(64, 64), name="w")
        f.outputs(y=f.op("linear", x=f.inputs["x"], weight=weight, bias=np.zeros(64, np.float32)))
    name = f"{opset}.mlpackage"
    build_program(f).save(folder / name)
    return name


def recipe_of(run: Run, *arguments: str) -> str:
    """What `--print-recipe` prints, without the frame of a recipe."""
    ran = run(*arguments, "--print-recipe")
    assert (ran.code, ran.err) == (0, "")
    return ran.out.removeprefix("version: 1\npasses:\n")


def test_prune(run: Run, folder: Path, golden: Callable[[str], None]) -> None:
    golden(run("prune", "model.mlpackage", "-o", "out.mlpackage", "--sparsity", "0.75", "--skip", "*classifier*", "-v").text)


def test_prune_plan(run: Run, folder: Path, golden: Callable[[str], None]) -> None:
    golden(run("prune", "model.mlpackage", "--threshold", "0.01", "--op-type", "conv", "--plan").text)
    assert sorted(path.name for path in folder.iterdir()) == ["model.mlpackage"]


def test_palettize(run: Run, folder: Path, golden: Callable[[str], None]) -> None:
    golden(run("palettize", "model.mlpackage", "-o", "out.mlpackage", "--nbits", "4", "--group-size", "24", "--indivisible", "shrink").text)


def test_quantize(run: Run, folder: Path, golden: Callable[[str], None]) -> None:
    golden(run("quantize", "model.mlpackage", "-o", "out.mlpackage", "--dtype", "int4").text)


def test_decompress(run: Run, folder: Path, golden: Callable[[str], None]) -> None:
    run("prune", "model.mlpackage", "-o", "sparse.mlpackage")
    golden(run("decompress", "sparse.mlpackage", "-o", "out.mlpackage").text)


@pytest.mark.parametrize(
    "arguments",
    [
        ("prune", "--sparsity", "0.75", "--op-type", "conv"),
        ("palettize", "--nbits", "4", "--group-size", "8", "--skip", "stem_*"),
        ("quantize", "--dtype", "uint8", "--mode", "asymmetric"),
        ("quantize", "--dtype", "int4", "--granularity", "per-block"),
        ("quantize", "--target", "iOS17"),
        ("decompress",),
    ],
)
def test_the_printed_recipe_does_the_same(arguments: tuple[str, ...], run: Run, folder: Path) -> None:
    name, *options = arguments
    assert run(name, "model.mlpackage", "-o", "one.mlpackage", *options).code == 0
    printed = json.loads(run(name, "model.mlpackage", *options, "--print-recipe", "--json").out)
    (folder / "printed.yaml").write_text(printed["recipe"])
    assert run("run", "model.mlpackage", "printed.yaml", "-o", "two.mlpackage").code == 0
    assert files(Path("one.mlpackage")) == files(Path("two.mlpackage"))


def test_a_recipe_without_a_model_raises_to_what_any_weight_needs(run: Run) -> None:
    assert recipe_of(run, "palettize") == "  - raise-opset: iOS16\n  - palettize-weights\n"
    assert recipe_of(run, "palettize", "--nbits", "3") == "  - raise-opset: iOS18\n  - palettize-weights: {nbits: 3}\n"
    assert recipe_of(run, "quantize", "--precision", "fp16") == "  - raise-opset: iOS18\n  - quantize-weights: {precision: fp16}\n"


def test_a_recipe_for_a_model_raises_an_older_one_only(run: Run, folder: Path) -> None:
    ran = run("prune", written(folder, IOS16), "--print-recipe")
    assert (ran.out, ran.err) == ("version: 1\npasses: [prune-weights]\n", "")
    ran = run("prune", written(folder, IOS15), "--print-recipe")
    assert ran.out == "version: 1\npasses:\n  - raise-opset: iOS16\n  - prune-weights\n"
    assert ran.err == "note: the model is written for iOS15, and sparse 50% needs iOS16: it is raised to that\n"


def test_what_is_needed_depends_on_the_weights_there_are(run: Run, folder: Path) -> None:
    arguments = ("quantize", "--precision", "fp16")
    assert "raise-opset: iOS18" in run(*arguments, written(folder, IOS16), "--print-recipe").out
    assert "raise-opset" not in run(*arguments, "model.mlpackage", "--print-recipe").out  # its weights are fp16


def test_weights_that_are_compressed_already_are_asked_for_too(run: Run, folder: Path) -> None:
    run("prune", written(folder, IOS16), "-o", "sparse.mlpackage")
    ran = run("quantize", "sparse.mlpackage", "--dtype", "int4", "-o", "joint.mlpackage")
    assert ran.err == "note: the model is written for iOS16, and int4 per-channel symmetric needs iOS18: it is raised to that\n"
    assert next(weight.scheme for weight in load("joint.mlpackage").weights()).startswith("sparse 50%, int4 per-channel")


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("prune", "quantize", "int8 per-channel symmetric needs iOS18"),
        ("prune", "palettize", "lut 4-bit kmeans per-tensor needs iOS18"),
        ("palettize", "prune", "sparse 50% needs iOS18"),
        ("quantize", "prune", "sparse 50% needs iOS18"),
    ],
)
def test_a_model_is_raised_to_what_joint_forms_need(first: str, second: str, said: str, run: Run, folder: Path) -> None:
    assert run(first, written(folder, IOS16), "-o", "once.mlpackage").code == 0
    ran = run(second, "once.mlpackage", "-o", "joint.mlpackage")
    raised = "for weights that are compressed already: it is raised to that"
    assert (ran.code, ran.err) == (0, f"note: the model is written for iOS16, and {said} {raised}\n")
    assert "raise-opset: iOS18" in run("recipe", "joint.mlpackage").out


def test_what_makes_nothing_of_compressed_weights_raises_nothing_for_them(run: Run, folder: Path) -> None:
    assert run("quantize", written(folder, IOS16), "-o", "once.mlpackage").code == 0
    ran = run("quantize", "once.mlpackage", "--plan")
    assert (ran.code, ran.err) == (0, "")


def test_a_target_is_raised_to_whatever_is_needed(run: Run, folder: Path) -> None:
    assert recipe_of(run, "prune", "--target", "iOS17") == "  - raise-opset: iOS17\n  - prune-weights\n"
    assert run("prune", "model.mlpackage", "-o", "out.mlpackage", "--target", "iOS17").code == 0
    assert load("out.mlpackage").main.opset == "CoreML7"


def test_a_target_that_lacks_the_scheme_is_an_error_that_names_the_one_it_needs(run: Run, folder: Path) -> None:
    ran = run("quantize", "model.mlpackage", "-o", "out.mlpackage", "--dtype", "int4", "--target", "iOS17")
    assert ran.code == 2
    assert 'is written for iOS17, and int4 per-channel symmetric needs iOS18, for 9 weights: put RaiseOpset("iOS18")' in ran.err
    assert not (folder / "out.mlpackage").exists()


def test_what_was_raised_is_not_said_with_q(run: Run, folder: Path) -> None:
    ran = run("prune", written(folder, IOS15), "-o", "out.mlpackage", "-q")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert load("out.mlpackage").main.opset == "CoreML6"


def test_filters_become_rules(run: Run) -> None:
    filters = ("--skip", "*head*", "--skip", "stem", "--op-type", "conv,linear", "--op-type", "matmul")
    text = recipe_of(run, "prune", *filters, "--sparsity", "0.7")
    assert text == (
        "  - raise-opset: iOS16\n"
        "  - prune-weights:\n"
        "      rules:\n"
        "        - {name: '*head*', skip: true}\n"
        "        - {name: stem, skip: true}\n"
        "        - {op_type: [conv, linear, matmul], magnitude: {sparsity: 0.7}}\n"
    )


def test_without_op_types_what_is_not_skipped_is_compressed(run: Run) -> None:
    text = recipe_of(run, "prune", "--skip", "*head*", "--sparsity", "0.7")
    assert text.endswith("      rules:\n        - {name: '*head*', skip: true}\n      default: {magnitude: {sparsity: 0.7}}\n")


@pytest.mark.parametrize(
    ("options", "entry"),
    [
        ((), "prune-weights"),
        (("--sparsity", "0.75"), "prune-weights: {sparsity: 0.75}"),
        (("--sparsity", "0.75", "--block-size", "4", "--dim", "input"), "prune-weights: {sparsity: 0.75, block_size: 4, dim: input}"),
        (("--threshold", "0.01"), "prune-weights:\n      default: {threshold: {threshold: 0.01}}"),
        (("--minimum-sparsity", "0.3"), "prune-weights:\n      default: {threshold: {minimum_sparsity: 0.3}}"),
        (("--n-m", "1:4", "--dim", "output"), "prune-weights:\n      default: {nm: {n: 1, dim: output}}"),
        (("--n-m", "2:4", "--min-elements", "0"), "prune-weights:\n      default: {nm: {min_elements: 0}}"),
    ],
)
def test_each_way_to_prune_has_its_options(options: tuple[str, ...], entry: str, run: Run) -> None:
    assert recipe_of(run, "prune", *options) == f"  - raise-opset: iOS16\n  - {entry}\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sparsity", "0.5", "--n-m", "2:4"), "--sparsity and --n-m are different ways to prune: give one of them"),
        (("--threshold", "0", "--dim", "input"), "--dim does not go with --threshold"),
        (("--n-m", "2"), "--n-m takes two numbers, as in 2:4, not '2'"),
        (("--sparsity", ""), "--sparsity needs a value"),
        (("--nbits", "4"), "no such option"),
    ],
)
def test_ways_to_prune_do_not_mix(options: tuple[str, ...], message: str, run: Run) -> None:
    ran = run("prune", "--print-recipe", *options)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {message}")
    assert ran.err.endswith("  see mlpasses prune --help\n")


def test_wrong_options_are_errors_at_the_option(run: Run, golden: Callable[[str], None]) -> None:
    golden(run("palettize", "--nbits", "5", "--mode", "kmean", "--group-size", "x", "--print-recipe").text)


def test_what_is_wrong_with_options_together_is_at_all_of_them(run: Run) -> None:
    ran = run("prune", "--n-m", "4:2", "--dim", "input", "--print-recipe")
    assert ran.code == 2
    assert "m of NM has to be more than n, and n is 4 and m 2: n of each m channels become zero\n  --> --dim input --n-m 4:2  " in ran.err


def test_a_filter_that_finds_nothing_is_an_error_at_the_option(run: Run, folder: Path) -> None:
    ran = run("prune", "model.mlpackage", "-o", "out.mlpackage", "--skip", "*clasifier*")
    assert ran.code == 2
    assert "  --> --skip *clasifier*  passes[0].prune-weights.rules[0].name\n" in ran.err
    assert 'did you mean "*classifier*"' in ran.err


def test_a_size_for_each_axis_may_be_given_with_commas(run: Run) -> None:
    options = ("quantize", "--granularity", "per-block", "--block-size")
    for text, size in (("1,32", (1, 32)), ("[1, 32]", (1, 32)), ("8", 8)):
        made = load_recipe(run(*options, text, "--print-recipe").out)
        assert made.passes[1] == QuantizeWeights(Quantize(granularity="per-block", block_size=size))


def test_a_negative_number_is_a_value(run: Run) -> None:
    assert "palettize-weights: {axis: -1, group_size: 4}" in recipe_of(run, "palettize", "--group-size", "4", "--axis", "-1")


@pytest.mark.parametrize("name", SHORTHANDS)
def test_each_option_of_a_config_is_one_of_the_command(name: str, run: Run) -> None:
    shown = run(name, "--help").out
    configs: tuple[type, ...] = getattr(pass_class(SHORTHANDS[name]), "configs")  # noqa: B009 - passes have no such attribute, these do
    names = {option.name for config in configs for option in options_of(config)} - {"n", "m"}
    assert [each for each in sorted(names) if f"  --{each.replace('_', '-')} " not in shown] == []


def test_what_is_missing_is_named(run: Run, folder: Path) -> None:
    assert run("prune").err.startswith("error: missing argument 'MODEL'")
    assert run("prune", "model.mlpackage").err.startswith("error: missing option '-o' / '--output'")


def test_the_record_is_the_printed_recipe(run: Run, folder: Path) -> None:
    run("prune", "model.mlpackage", "-o", "out.mlpackage", "--sparsity", "0.6")
    printed = run("prune", "model.mlpackage", "--sparsity", "0.6", "--print-recipe").out
    assert load_recipe(run("recipe", "out.mlpackage").out) == load_recipe(printed)
    run("prune", "model.mlpackage", "-o", "bare.mlpackage", "--no-record")
    assert run("recipe", "bare.mlpackage").code != 0


def test_json_is_that_of_run(run: Run, folder: Path) -> None:
    data = json.loads(run("prune", "model.mlpackage", "-o", "out.mlpackage", "--json").out)
    assert sorted(data) == ["after", "before", "model", "output", "report", "seconds"]
    assert data["report"]["weights"][0]["sparsity"] == 0.5


def test_json_of_a_plan(run: Run, folder: Path) -> None:
    data = json.loads(run("prune", "model.mlpackage", "--plan", "--json").out)
    assert data["weights"][0]["scheme"] == "sparse 50%"


def test_an_existing_package_is_replaced_with_force_only(run: Run, folder: Path) -> None:
    assert run("prune", "model.mlpackage", "-o", "out.mlpackage").code == 0
    before = files(Path("out.mlpackage"))
    assert run("prune", "model.mlpackage", "-o", "out.mlpackage", "--sparsity", "0.9").code == 2
    assert files(Path("out.mlpackage")) == before
    assert run("prune", "model.mlpackage", "-o", "out.mlpackage", "--sparsity", "0.9", "-f").code == 0


def test_a_plan_that_a_run_would_refuse_is_exit_code_1(run: Run, folder: Path) -> None:
    assert run("prune", "model.mlpackage", "--plan", "--op-type", "lstm").code == 1


def test_a_failing_job_is_an_internal_error_and_leaves_no_output(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patched(monkeypatch, "mlpasses.compress.prune_job.PruneJob.run", RuntimeError("no"))
    ran = run("prune", "model.mlpackage", "-o", "out.mlpackage")
    assert ran.code == 4
    assert "error: pass prune-weights failed: RuntimeError: no" in ran.err
    assert sorted(path.name for path in folder.iterdir()) == ["model.mlpackage"]


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_signal_while_weights_are_worked_on_leaves_nothing_behind(workers: str, number: str, code: int, folder: Path) -> None:
    (folder / "scratch").mkdir()
    command = [sys.executable, "-c", INTERRUPTED.format(number=number), "prune", "model.mlpackage", "-o", "out.mlpackage"]
    done = subprocess.run(
        [*command, "--workers", workers, "--scratch", "scratch"], env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "interrupted\n")
    assert sorted(path.name for path in folder.iterdir()) == ["model.mlpackage", "scratch"]
    assert list((folder / "scratch").iterdir()) == []
