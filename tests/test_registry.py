"""Names of passes: ours, other packages', contested, broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlpasses.errors import ConfigError
from mlpasses.passes import Pass
from mlpasses.registry import BUILT_IN, Entry, Registry, pass_class, registry

PLUGIN = "tests.passes_for_tests:NoOptions"


def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, entry_points: str) -> None:
    """A distribution `name` with these entry points, as pip would leave it on the path."""
    info = tmp_path / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[mlpasses.passes]\n{entry_points}\n")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_name_is_that_of_its_class(name: str) -> None:
    found = pass_class(name)
    assert issubclass(found, Pass)
    assert found.name == name


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_pass_says_what_it_does(name: str) -> None:
    assert pass_class(name).summary()


def test_an_installed_packages_pass_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "somebodys", f"no-options = {PLUGIN}")
    assert pass_class("no-options").__name__ == "NoOptions"
    assert registry().entries["no-options"].origin == "somebodys"


def test_an_unknown_name_gets_the_nearest_ones() -> None:
    with pytest.raises(ConfigError, match=r"there is no pass 'quantise-weights'; did you mean 'quantize-weights' or 'prune-weights'\?"):
        pass_class("quantise-weights")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DeadCode", "dead-code"), ("dead_code", "dead-code"),
        ("quantize", "quantize-luts' or 'quantize-weights"), ("palettize", "palettize-weights"),
    ],
)  # fmt: skip
def test_a_class_name_and_the_first_word_of_a_name_get_that_name(name: str, meant: str) -> None:
    with pytest.raises(ConfigError) as raised:
        pass_class(name)
    assert str(raised.value) == f"there is no pass {name!r}; did you mean '{meant}'?"


def test_a_name_like_no_other_gets_the_list() -> None:
    with pytest.raises(ConfigError, match="there is no pass 'zzz'; there is cleanup, common-subexpressions, dead-code, "):
        pass_class("zzz")


def test_a_package_that_cannot_be_imported_breaks_only_its_own_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "broken", "boom = nowhere_at_all:Boom")
    known = registry()
    with pytest.raises(ConfigError, match=r"pass 'boom' of broken cannot be loaded: .*No module named 'nowhere_at_all'.* remove broken"):
        known["boom"]
    assert known["dead-code"].name == "dead-code"


def test_a_module_that_exits_on_import_is_an_error_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "exits_on_import.py").write_text("import sys\nsys.exit(3)\n")
    install(tmp_path, monkeypatch, "exits", "gone = exits_on_import:Gone")
    with pytest.raises(ConfigError, match="raised SystemExit: 3"):
        pass_class("gone")


def test_what_is_no_pass_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "odd", "odd = pathlib:Path")
    with pytest.raises(ConfigError, match="pass 'odd' of odd is no pass"):
        pass_class("odd")


def test_an_entry_point_has_the_name_of_its_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "renamed", f"other-name = {PLUGIN}")
    with pytest.raises(ConfigError, match="pass 'other-name' of renamed calls itself 'no-options'"):
        pass_class("other-name")


def test_a_name_of_ours_stays_ours() -> None:
    known = Registry.of(iter([Entry("dead-code", BUILT_IN["dead-code"]), Entry("dead-code", PLUGIN, "taker")]))
    assert known.entries["dead-code"].origin == "mlpasses"
    assert "taker (tests.passes_for_tests:NoOptions) cannot have it" in known.conflicts["dead-code"]


def test_a_name_that_two_packages_claim_belongs_to_neither() -> None:
    known = Registry.of(iter([Entry("no-options", PLUGIN, "one"), Entry("no-options", "a:B", "two"), Entry("x", "a:X", "two")]))
    assert set(known.entries) == {"x"}
    with pytest.raises(ConfigError, match=r"claimed by one \(.*\) and two \(a:B\), so it means neither"):
        known["no-options"]


def test_a_package_that_is_on_the_path_twice_is_no_conflict() -> None:
    known = Registry.of(iter([Entry("no-options", PLUGIN, "one"), Entry("no-options", PLUGIN, "one")]))
    assert not known.conflicts
    assert known["no-options"].name == "no-options"
