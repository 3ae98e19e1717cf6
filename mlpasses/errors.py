"""The errors of pipelines and recipes; `ir.diagnostics` has the rest of the small hierarchy."""

from __future__ import annotations

from ir.diagnostics import MLPassesError


class PassError(MLPassesError):
    """A pass failed, or broke its contract. Names the pass, what ran before it, and carries the cause."""


class ConfigError(MLPassesError):
    """A configuration cannot be met, or contradicts itself or the program."""


class RecipeError(ConfigError):
    """A recipe is wrong. The text names the file, line and column."""
