"""A build backend that needs nothing: a wheel is a zip file. Tests build this package where there is no network."""

from __future__ import annotations

import tomllib
import zipfile
from pathlib import Path

MODULE = "somebodys_passes.py"


def build_wheel(
    wheel_directory: str, config_settings: dict[str, object] | None = None, metadata_directory: str | None = None
) -> str:
    """Writes the wheel, and answers with its name (PEP 517)."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    stem = f"{project['name'].replace('-', '_')}-{project['version']}"
    points = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in each.items()) for group, each in project["entry-points"].items()]
    files = {
        MODULE: Path(MODULE).read_text(encoding="utf-8"),
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: build_backend\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{stem}.dist-info/entry_points.txt": "\n".join(points),
    }
    record = "".join(f"{name},,\n" for name in (*files, f"{stem}.dist-info/RECORD"))
    wheel = f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(Path(wheel_directory) / wheel, "w") as archive:
        for name, text in {**files, f"{stem}.dist-info/RECORD": record}.items():
            archive.writestr(name, text)
    return wheel
