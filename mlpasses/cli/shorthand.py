"""What the shorthands share: a command that is a recipe of one pass over weights, with the opset raised before it where it has to be.

    mlpasses palettize M.mlpackage -o OUT --nbits 4 --op-type conv,linear --skip '*head*'

is `mlpasses run` with the recipe

    version: 1
    passes:
      - raise-opset: iOS16
      - palettize-weights:
          rules:
            - {name: "*head*", skip: true}
            - {op_type: [conv, linear], palettize: {nbits: 4}}

The opset is raised to `--target`; without it to the first that has the scheme, if the model is older.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from attrs import field, frozen

from mlpasses.cli.common import Settings, load
from mlpasses.cli.running import Running, run_model, running_options

if TYPE_CHECKING:
    from ir.core import Program
    from ir.opset import Opset
    from mlpasses.compress.joint import Scheme
    from mlpasses.compress.weight_pass import Config, WeightPass
    from mlpasses.pipeline import Pipeline
    from mlpasses.yamltree import Node

F = TypeVar("F", bound=Callable[..., Any])
_SCHEMES: Final[Mapping[str, Scheme]] = {"prune-weights": "prune", "quantize-weights": "quantize", "palettize-weights": "palettize"}
"""What the passes are called in the table of joint forms."""


@frozen
class Shorthand:
    """What the common part of the command line says."""

    model: Path | None
    output: Path | None
    print_recipe: bool
    plan: bool
    running: Running

    def carry_out(self, pipeline_for: Callable[[Program | None], Pipeline], settings: Settings) -> int:
        """Prints the recipe, or plans, or runs; answers with the exit code. `pipeline_for(None)` is for models that nobody knows."""
        if self.print_recipe:
            return self._print(pipeline_for(None if self.model is None else load(self.model, settings)), settings)
        if self.model is None:
            raise click.UsageError("missing argument 'MODEL'", click.get_current_context())
        if self.plan:
            from mlpasses.cli.plan import show_plan

            program = load(self.model, settings)
            return show_plan(self.model, pipeline_for(program).plan(program), settings)
        if self.output is None:
            raise click.UsageError("missing option '-o' / '--output'", click.get_current_context())
        run_model(self.model, self.output, pipeline_for, settings, self.running)
        return 0

    def _print(self, pipeline: Pipeline, settings: Settings) -> int:
        from mlpasses.recipe import dump_recipe

        text = dump_recipe(pipeline)
        if settings.as_json:
            settings.data({"model": self.model and str(self.model), "recipe": text})
        else:
            settings.say(text.removesuffix("\n"))
        return 0


def _words(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word.strip() for text in texts for word in text.split(","))


@frozen
class Choice:
    """Which weights, and the opset."""

    op_types: tuple[str, ...] = field(converter=_words)
    skips: tuple[str, ...]
    target: str | None


def shorthand_options(command: F) -> F:
    """Adds MODEL, `-o` and the like, and hands the command a `Shorthand` as `shorthand`."""

    @wraps(command)  # with the options that it has so far
    def called(*arguments: Any, **options: Any) -> Any:
        given = {name: options.pop(name) for name in ("model", "output", "print_recipe", "plan", "running")}
        return command(*arguments, shorthand=Shorthand(**given), **options)

    path = click.Path(path_type=Path)
    decorated: Any = running_options(called)
    for option in (
        click.option("--plan", is_flag=True, help="Show what would be done, read no weight and write nothing."),
        click.option("--print-recipe", is_flag=True, help="Print the recipe that does the same, and do nothing; MODEL may be left out."),
        click.option("-o", "--output", type=path, help="The package to write."),
        click.argument("model", type=path, required=False),
    ):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def choice_options(command: F) -> F:
    """Adds `--op-type`, `--skip` and `--target`, and hands the command a `Choice` as `choice`."""

    @wraps(command)  # with the options that it has so far
    def called(*arguments: Any, **options: Any) -> Any:
        given = {name: options.pop(name) for name in ("op_types", "skips", "target")}
        return command(*arguments, choice=Choice(**given), **options)

    target = "The opset to raise to first, such as iOS18. Without: the first that has the scheme, if MODEL is older."
    decorated: Any = called
    for option in (
        click.option("--target", metavar="TARGET", help=target),
        click.option("--skip", "skips", multiple=True, metavar="NAME", help="A weight to leave alone, or a pattern of names. Repeatable."),
        click.option("--op-type", "op_types", multiple=True, metavar="TYPE,…", help="Only the weights that these types of ops use."),
    ):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def scheme_pipeline(
    pass_name: str, config: str, options: Mapping[str, Node], choice: Choice, settings: Settings
) -> Callable[[Program | None], Pipeline]:
    """The pipeline for a model: one pass with one config for the chosen weights, behind a pass that raises the opset if that has to be.

    Raises:
        RecipeError: an option is wrong; all that are come together.
    """
    from mlpasses.recipe import pipeline_of
    from mlpasses.yamltree import Mark, Node

    entry = _entry(pass_name, config, options, choice)
    if choice.target is not None:
        mark = Mark(f"--target {choice.target}")
        pipeline = pipeline_of([Node(mark, {"raise-opset": Node(mark, choice.target)}), entry])
        return lambda program: pipeline
    pipeline = pipeline_of([entry])

    def raised(program: Program | None) -> Pipeline:
        from mlpasses.pipeline import Pipeline
        from mlpasses.raising import RaiseOpset

        needs = _needs(pipeline, program, settings)
        return pipeline if needs is None else Pipeline(RaiseOpset(needs), *pipeline)

    return raised


def _entry(pass_name: str, config: str, options: Mapping[str, Node], choice: Choice) -> Node:
    """The pass with its rules, as the entry of a recipe in which everything remembers where it stood on the command line."""
    from mlpasses.yamltree import Mark, Node

    def mapping(mark: Mark, entries: dict[str, Node]) -> Node:
        return Node(mark, entries, {key: node.mark for key, node in entries.items()})

    here = Mark(" ".join(dict.fromkeys(node.mark.file for node in options.values())) or "the command line")
    outcome = {config: mapping(here, dict(options))}
    rules: list[Node] = []
    for name in choice.skips:
        mark = Mark(f"--skip {name}")
        rules.append(mapping(mark, {"name": Node(mark, name), "skip": Node(mark, True)}))
    stated: dict[str, Node] = {}
    if choice.op_types:
        mark = Mark(f"--op-type {','.join(choice.op_types)}")
        types = Node(mark, tuple(Node(mark, op_type) for op_type in choice.op_types))
        rules.append(mapping(mark, {"op_type": types, **outcome}))
    else:
        stated["default"] = mapping(here, outcome)
    return mapping(here, {pass_name: mapping(here, {"rules": Node(here, tuple(rules)), **stated})})


def _needs(pipeline: Pipeline, program: Program | None, settings: Settings) -> Opset | None:
    """The opset to raise a program to, which is said; None where it has what the scheme needs. Of no program the one for any weight."""
    from ir.opset import opset_of_key
    from ir.types import FP16, FP32
    from mlpasses.compress.weight_pass import WeightPass

    (each,) = pipeline
    assert isinstance(each, WeightPass)  # it was made of a scheme's entry
    config: Config = next(rule.config for rule in each.rules if not rule.skips)
    if program is None:
        return max(config.needs(FP16), config.needs(FP32))
    dtypes = {weight.dtype for weight in program.weights() if weight.numel >= config.min_elements} & {FP16, FP32}
    alone = max((config.needs(dtype) for dtype in dtypes), default=None)
    joint = _joint_needs(each, config, program)
    needs = max((opset for opset in (alone, joint) if opset is not None), default=None)
    opsets = [opset for function in program.all_functions() if (opset := opset_of_key(function.opset)) is not None]
    oldest = min(opsets, default=None)
    if needs is None or oldest is None or oldest >= needs:
        return None
    if not settings.quiet:
        where = "" if needs == alone else " for weights that are compressed already"
        click.echo(f"note: the model is written for {oldest}, and {config.scheme} needs {needs}{where}: it is raised to that", err=True)
    return needs


def _joint_needs(each: WeightPass, config: Config, program: Program) -> Opset | None:
    """The opset of the forms that the scheme makes of weights that are compressed already; None where it makes none."""
    from mlpasses.candidates import Candidate, survey
    from mlpasses.compress.joint import row_of

    large = (found for found in survey(program) if isinstance(found, Candidate) and found.numel >= config.min_elements)
    rows = (row_of(found.form, _SCHEMES[each.name]) for found in large if found.form is not None)
    return max((row.since for row in rows if row.becomes is not None), default=None)
