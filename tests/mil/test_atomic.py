"""Saving: whatever happens, the target holds the old package or the new one, whole."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import signal
import stat
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pytest

from ir.diagnostics import PackageError
from ir.mil import atomic
from ir.mil.blob_writer import BlobWriter
from ir.mil.blobs import BlobFile
from ir.mil.files import copy_file
from ir.tensors import PackedTensor
from ir.types import UINT8

Patch: TypeAlias = pytest.MonkeyPatch
FileSystem: TypeAlias = Literal["exchange", "no exchange"]
STEPS = (
    "mkdir", "open", "close", "fsync", "chmod", "rename", "unlink", "rmdir", "scandir", "stat", "lstat", "urandom",
)  # fmt: skip
"""What saving asks of the operating system, as `os` knows it; the exchange is counted apart."""


def write(folder: Path, mark: str) -> None:
    """A package of a few files and folders, each of which tells which package it belongs to."""
    (folder / "Data" / "weights").mkdir(parents=True, exist_ok=True)
    for name in ("Manifest.json", "Data/model", "Data/weights/w.bin"):
        (folder / name).write_text(mark)


def marks(folder: Path) -> set[str]:
    """The packages of which `folder` holds parts: one, if it is whole."""
    found = {name: (folder / name).read_text() for name in ("Manifest.json", "Data/model", "Data/weights/w.bin")}
    return set(found.values())


def save(target: Path, mark: str, *, overwrite: bool = True) -> None:
    with atomic.saving(target, overwrite=overwrite) as draft:
        write(draft, mark)


def leftovers(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir() if path.name != target.name)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "box" / "M.mlpackage"


@pytest.fixture(autouse=True)
def box(target: Path) -> None:
    target.parent.mkdir()


def without_exchange(monkeypatch: Patch, number: int = errno.EINVAL) -> None:
    """Makes the system a file system that renames without flags only."""

    def refuse(source: bytes, place: bytes, flags: int) -> int:
        ctypes.set_errno(number)
        return -1

    monkeypatch.setattr(atomic, "_system_rename", lambda: refuse)


@pytest.fixture(params=["exchange", "no exchange"])
def file_system(request: pytest.FixtureRequest, monkeypatch: Patch) -> str:
    if request.param == "no exchange":
        without_exchange(monkeypatch)
    return str(request.param)


# What is saved


def test_new_target_is_created(target: Path, file_system: str) -> None:
    save(target, "new", overwrite=False)
    assert marks(target) == {"new"}
    assert leftovers(target) == []


@pytest.mark.parametrize("existing", [False, True])
def test_a_folder_that_cannot_be_written_to_is_refused_at_once(existing: bool, target: Path, monkeypatch: Patch) -> None:
    if existing:
        write(target, "old")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PackageError, match=r"M\.mlpackage cannot be saved: the folder .*box cannot be written to; choose another path"):
        atomic.check_target(target, overwrite=True)


def test_link_into_a_folder_that_is_not_there_is_refused_at_once(target: Path) -> None:
    target.symlink_to(target.parent / "absent" / "N.mlpackage")
    with pytest.raises(PackageError, match=r"M\.mlpackage cannot be saved: there is no folder .*box/absent; create it first"):
        atomic.check_target(target, overwrite=False)


def test_old_target_is_replaced(target: Path, file_system: str) -> None:
    write(target, "old")
    (target / "Data" / "only in the old one").write_text("old")
    save(target, "new")
    assert marks(target) == {"new"}
    assert not (target / "Data" / "only in the old one").exists()
    assert leftovers(target) == []


def test_mapping_of_the_old_package_stays_valid(target: Path, file_system: str) -> None:
    write(target, "old")
    with BlobWriter(target / "Data" / "blob") as writer:
        offset = writer.append(PackedTensor(b"payload", UINT8, (7,)))
    tensor = BlobFile(target / "Data" / "blob").tensor(offset, UINT8, (7,))
    save(target, "new")
    assert bytes(tensor.payload()) == b"payload"
    copy_file(tensor.file, target.parent / "again")
    assert (target.parent / "again").stat().st_size == 128 + 7


def test_link_to_a_package_stays_and_its_package_is_replaced(target: Path, tmp_path: Path) -> None:
    write(target, "old")
    (tmp_path / "alias").symlink_to(target)
    save(tmp_path / "alias", "new")
    assert (tmp_path / "alias").is_symlink()
    assert marks(target) == {"new"}


def test_replaced_package_may_be_read_only(target: Path, file_system: str) -> None:
    write(target, "old")
    for folder in (target / "Data" / "weights", target / "Data", target):
        folder.chmod(0o555)
    save(target, "new")
    assert marks(target) == {"new"}
    assert leftovers(target) == []


def test_private_package_stays_private(target: Path) -> None:
    write(target, "old")
    target.chmod(0o700)
    save(target, "new")
    assert stat.S_IMODE(target.stat().st_mode) == 0o700


def test_name_as_long_as_names_get_is_saved(target: Path) -> None:
    long = target.with_name("é" * 120 + ".mlpackage")
    save(long, "old")
    save(long, "new")
    assert marks(long) == {"new"}


def test_everything_is_on_disk_before_the_exchange_and_the_parent_after(target: Path, monkeypatch: Patch) -> None:
    write(target, "old")
    events: list[str] = []
    flush, exchange = atomic._flush, atomic._exchange

    def logged_flush(path: Path) -> None:
        events.append(path.name)
        flush(path)

    def logged_exchange(one: Path, other: Path) -> None:
        events.append("exchange")
        exchange(one, other)

    monkeypatch.setattr(atomic, "_flush", logged_flush)
    monkeypatch.setattr(atomic, "_exchange", logged_exchange)
    save(target, "new")
    before, after = events[: events.index("exchange")], events[events.index("exchange") + 1 :]
    assert sorted(before[:-1]) == ["Data", "Manifest.json", "model", "w.bin", "weights"]
    assert before.index("w.bin") < before.index("weights") < before.index("Data")
    assert before[-1].endswith(atomic.TEMPORARY)
    assert after == ["box"]


# What is refused


def test_existing_package_is_refused_unless_asked_for(target: Path) -> None:
    write(target, "old")
    with pytest.raises(PackageError, match=r"exists: choose another path, or .*overwrite=True, --force"):
        save(target, "new", overwrite=False)
    assert marks(target) == {"old"}
    assert leftovers(target) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_folder_that_is_no_package_is_always_refused(target: Path, overwrite: bool) -> None:
    target.mkdir()
    (target / "thesis.tex").write_text("precious")
    with pytest.raises(PackageError, match=r"without Manifest\.json, hence no package, and is never replaced"):
        save(target, "new", overwrite=overwrite)
    assert (target / "thesis.tex").read_text() == "precious"


@pytest.mark.parametrize("overwrite", [False, True])
def test_file_is_always_refused(target: Path, overwrite: bool) -> None:
    target.write_text("precious")
    with pytest.raises(PackageError, match="is a file, not a package, and is never replaced"):
        save(target, "new", overwrite=overwrite)
    assert target.read_text() == "precious"


def test_missing_parent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"there is no folder .*absent; create it first"):
        save(tmp_path / "absent" / "M.mlpackage", "new")


def test_path_that_is_none_is_refused() -> None:
    with pytest.raises(PackageError, match="is no path"):
        save(Path("a\0b"), "new")


def test_package_that_appears_meanwhile_is_not_replaced(target: Path, file_system: str) -> None:
    def save_late() -> None:
        with atomic.saving(target, overwrite=False) as draft:
            write(draft, "new")
            write(target, "other")

    with pytest.raises(PackageError, match="exists: choose another path"):
        save_late()
    assert marks(target) == {"other"}
    assert leftovers(target) == []


def test_package_that_appears_between_look_and_rename_is_not_replaced(
    target: Path, file_system: str, monkeypatch: Patch
) -> None:
    move = atomic._move

    def late(source: Path, place: Path) -> None:
        if not place.exists():
            write(place, "other")
        move(source, place)

    monkeypatch.setattr(atomic, "_move", late)
    with pytest.raises(PackageError, match="exists"):
        save(target, "new", overwrite=False)
    assert marks(target) == {"other"}


def test_package_that_vanishes_between_look_and_exchange_is_no_hindrance(target: Path, monkeypatch: Patch) -> None:
    write(target, "old")
    exchange = atomic._exchange

    def late(one: Path, other: Path) -> None:
        other.rename(other.with_name("elsewhere"))
        exchange(one, other)

    monkeypatch.setattr(atomic, "_exchange", late)
    save(target, "new")
    assert marks(target) == {"new"}


def test_failing_body_leaves_the_target_as_it_was(target: Path) -> None:
    write(target, "old")

    def save_in_vain() -> None:
        with atomic.saving(target, overwrite=True) as draft:
            write(draft, "new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_in_vain()
    assert marks(target) == {"old"}
    assert leftovers(target) == []


# What was left behind


def test_a_folder_that_another_save_takes_for_a_leftover_is_made_anew(target: Path, monkeypatch: Patch) -> None:
    open_file = os.open
    gone: list[Path] = []

    def remove_first(path: Any, flags: int, *mode: int) -> int:
        if not gone and str(path).endswith(atomic.TEMPORARY):
            gone.append(path)
            path.rmdir()
        return open_file(path, flags, *mode)

    monkeypatch.setattr(os, "open", remove_first)
    save(target, "new")
    assert gone
    assert marks(target) == {"new"}
    assert leftovers(target) == []


def test_leftover_of_a_dead_process_is_removed(target: Path) -> None:
    dead = target.with_name(f".M.mlpackage.0123456789abcdef{atomic.TEMPORARY}")
    write(dead, "dead")
    save(target, "new")
    assert leftovers(target) == []


def test_sibling_of_a_living_process_is_left_alone(target: Path) -> None:
    with atomic.saving(target, overwrite=True) as mine:
        write(mine, "mine")
        save(target, "other")
        assert marks(mine) == {"mine"}
    assert marks(target) == {"mine"}
    assert leftovers(target) == []


def test_leftover_of_another_target_is_left_alone(target: Path) -> None:
    others = target.with_name(f".M.mlpackage.b.0123456789abcdef{atomic.TEMPORARY}")
    others.mkdir()
    save(target, "new")
    assert leftovers(target) == [others.name]


def test_package_that_was_moved_aside_is_put_back(target: Path) -> None:
    write(target.with_name(f".M.mlpackage{atomic.ASIDE}"), "old")
    atomic.recover(target)
    assert marks(target) == {"old"}
    assert leftovers(target) == []


def test_package_that_was_moved_aside_and_replaced_is_removed(target: Path) -> None:
    write(target, "newer")
    write(target.with_name(f".M.mlpackage{atomic.ASIDE}"), "old")
    atomic.recover(target)
    assert marks(target) == {"newer"}
    save(target, "newest")
    assert marks(target) == {"newest"}
    assert leftovers(target) == []


def test_what_an_earlier_save_moved_aside_makes_way(target: Path, monkeypatch: Patch) -> None:
    without_exchange(monkeypatch)
    draft = target.with_name("draft")
    for folder, mark in ((target, "old"), (target.with_name(f".M.mlpackage{atomic.ASIDE}"), "older"), (draft, "new")):
        write(folder, mark)
    atomic.replace_folder(draft, target, overwrite=True)
    assert marks(target) == {"new"}
    assert leftovers(target) == []


def test_half_deleted_package_is_never_put_back(target: Path, monkeypatch: Patch) -> None:
    without_exchange(monkeypatch)
    write(target, "old")

    def delete_half(folder: Path) -> None:
        (folder / "Manifest.json").unlink(missing_ok=True)

    monkeypatch.setattr(atomic, "_remove", delete_half)
    with pytest.warns(UserWarning, match="what it replaced could not be removed"):
        save(target, "new")
    target.rename(target.with_name("elsewhere"))
    atomic.recover(target)
    assert not target.exists()


def test_recovery_waits_for_a_save_between_its_two_renames(target: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(atomic, "_PATIENCE", 0.05)
    write(target.with_name(f".M.mlpackage{atomic.ASIDE}"), "old")
    lock = os.open(target.parent, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(PackageError, match="another process holds a lock"):
        atomic.recover(target)
    os.close(lock)
    atomic.recover(target)
    assert marks(target) == {"old"}


def test_file_system_without_locks_saves_too(target: Path, file_system: str, monkeypatch: Patch) -> None:
    def refuse(lock: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    write(target, "old")
    save(target, "new")
    assert marks(target) == {"new"}
    assert leftovers(target) == []


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def test_every_way_of_having_no_exchange_is_known(target: Path, monkeypatch: Patch, number: int) -> None:
    without_exchange(monkeypatch, number)
    write(target, "old")
    save(target, "new")
    assert marks(target) == {"new"}


# A kill, and a full disk, at every step


def interrupt(monkeypatch: Patch, step: int, act: Callable[[], None], when: Literal["before", "after"]) -> list[int]:
    """Lets `act` happen before or after the `step`-th thing that saving asks of the system; the answer counts them."""
    count = [0]

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            count[0] += 1
            mine = count[0] == step
            if mine and when == "before":
                act()
            try:
                return real(*args, **more)
            finally:
                if mine and when == "after":
                    act()

        return call

    for name in STEPS:
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    monkeypatch.setattr(atomic, "_rename", counted(atomic._rename))
    return count


def save_in_child(target: Path, prepare: Callable[[Patch], None]) -> int:
    """Saves in a forked process; answers with its status, 0 if it came to its end."""
    child = os.fork()
    if not child:
        try:
            with pytest.MonkeyPatch.context() as monkeypatch:
                prepare(monkeypatch)
                save(target, "new")
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitpid(child, 0)[1]


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("system", ["exchange", "no exchange"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("exists", [True, False], ids=["replaced", "created"])
def test_kill_at_any_step_leaves_the_old_package_or_the_new_one(
    target: Path, system: FileSystem, when: Literal["before", "after"], exists: bool
) -> None:
    outcomes = []
    for step in range(1, 1000):
        if exists:
            write(target, "old")

        def prepare(monkeypatch: Patch, step: int = step) -> None:
            if system == "no exchange":
                without_exchange(monkeypatch)
            interrupt(monkeypatch, step, kill, when)

        status = save_in_child(target, prepare)
        atomic.recover(target)
        found = marks(target) if target.exists() else {"nothing"}
        assert found in ({"new"}, {"old"} if exists else {"nothing"}), f"step {step}"
        outcomes.append(found)
        if not status:
            break
        save(target, "next")
        assert marks(target) == {"next"}
        assert leftovers(target) == [], f"step {step}"
        if not exists:
            atomic._remove(target)
    else:
        pytest.fail("the child never came to its end")
    assert outcomes[0] != outcomes[-1] == {"new"}


def refusal_of(target: Path) -> str | None:
    try:
        save(target, "new")
    except PackageError as error:
        return str(error)
    return None


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_failure_at_any_step_leaves_the_old_package_or_the_new_one(
    target: Path, file_system: str, number: int, monkeypatch: Patch
) -> None:
    def fail() -> None:
        raise OSError(number, os.strerror(number))

    refused = 0
    for step in range(1, 1000):
        write(target, "old")
        with monkeypatch.context() as context, warnings.catch_warnings(action="ignore"):
            count = interrupt(context, step, fail, "before")
            if file_system == "no exchange":
                without_exchange(context)
            refusal = refusal_of(target)
        assert marks(target) == ({"old"} if refusal else {"new"}), f"step {step}"
        assert os.strerror(number) in (refusal or os.strerror(number))
        refused += bool(refusal)
        if count[0] < step:
            break
    assert refused > 5


def test_disk_that_fills_up_while_weights_are_written_leaves_the_old_package(target: Path) -> None:
    write(target, "old")
    child = os.fork()
    if not child:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, 5_000_000))
            with atomic.saving(target, overwrite=True) as draft:
                write(draft, "new")
                with BlobWriter(draft / "Data" / "blob") as writer:
                    for value in range(10):
                        writer.append(PackedTensor(bytes([value]) * 1_000_000, UINT8, (1_000_000,)))
        except PackageError as error:
            os._exit(7 if "could not be saved: File too large" in str(error) else 1)
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert marks(target) == {"old"}
    assert leftovers(target) == []


def test_two_processes_saving_to_one_target_leave_one_whole_package(target: Path, file_system: str) -> None:
    children, seen = [], False
    for number in range(4):
        child = os.fork()
        if not child:
            for turn in range(10):
                with suppress(PackageError):
                    save(target, f"{number}.{turn}")
            os._exit(0)
        children.append(child)
    while children:
        done, _ = os.waitpid(-1, os.WNOHANG)
        if done in children:
            children.remove(done)
        seen = seen or target.exists()
        assert target.exists() or not seen or file_system == "no exchange"
    assert len(marks(target)) == 1
    save(target, "last")
    assert leftovers(target) == []
