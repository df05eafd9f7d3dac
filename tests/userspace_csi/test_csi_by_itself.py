"""The drivers are a project of their own: neither they nor what is tested of them here need the harness."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from userspace_csi import DRIVER_VERSION

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGE = Path(__file__).parents[2] / "harness" / "userspace_csi"
PROJECT = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))
FILES = [*PACKAGE.rglob("*.py"), *Path(__file__).parent.glob("*.py"), Path(__file__).parents[1] / "playing.py"]
OF_THE_TESTS = {"hypothesis", "playing", "pytest", "tomli"}  # tests/playing.py needs nothing
OF_THE_IMAGE = {
    *("cephfs", "grpc", "rados", "rbd"),
    *("csi_pb2", "csi_pb2_grpc", "pluginregistration_pb2", "pluginregistration_pb2_grpc"),
}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module


@pytest.mark.parametrize("path", sorted(FILES), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_nothing_is_imported_but_its_own_and_what_its_image_has(path: Path) -> None:
    beside = {each.stem for each in Path(__file__).parent.glob("*.py")} | OF_THE_TESTS
    known = {PACKAGE.name, *sys.stdlib_module_names, *OF_THE_IMAGE, *(() if PACKAGE in path.parents else beside)}
    assert {name.partition(".")[0] for name in imported(path)} <= known


def test_its_project_names_all_its_packages() -> None:
    folders = [path.parent for path in PACKAGE.rglob("__init__.py")]
    packages = [".".join((PACKAGE.name, *folder.relative_to(PACKAGE).parts)) for folder in folders]
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(packages)


def test_its_version_is_the_one_that_it_answers_with() -> None:
    assert PROJECT["project"]["version"] == DRIVER_VERSION
