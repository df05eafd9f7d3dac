"""Takes the cause, or the workaround, out of each scenario of a run: `rookery check --sabotage` loads this plugin.

Files, names and results are those of any run: a module is changed while it is imported, and nothing of it is cached.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

import pytest
from _pytest.assertion.rewrite import rewrite_asserts  # not public, and the same since pytest 5

from rookery.catalogue.sabotage import KINDS, Marked
from rookery.plugin.options import bad_input_ends_it

OPTION = "--take-out"


def pytest_addoption(parser: pytest.Parser) -> None:
    # A group of its own: the one of `rookery.plugin.options` is made when pytest-kind's options are gone.
    group = parser.getgroup("sabotage", "rookery: shown to be able to fail")
    group.addoption(
        OPTION, choices=KINDS, default=KINDS[0], help="what each scenario is to lack (default: %(default)s)"
    )


def pytest_configure(config: pytest.Config) -> None:
    finder = Finder(config)
    config.pluginmanager.register(finder)
    sys.meta_path.insert(0, finder)
    config.add_cleanup(lambda: sys.meta_path.remove(finder))


def pytest_report_header(config: pytest.Config) -> str:
    return f"rookery: sabotage, each scenario lacks its {config.getoption(OPTION)}"


class Finder(MetaPathFinder):
    """Finds the modules that pytest collects from, before pytest's own finder does."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._files: set[Path] = set()

    def pytest_pycollect_makemodule(self, module_path: Path) -> None:
        self._files.add(module_path)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None or Path(spec.origin) not in self._files:
            return None
        spec.loader = Loader(fullname, spec.origin, self._config)
        return spec


class Loader(SourceFileLoader):
    """Imports a file without what is marked in it; its assertions explain themselves as those of any test."""

    def __init__(self, fullname: str, path: str, config: pytest.Config) -> None:
        super().__init__(fullname, path)
        self._config = config

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_data(self.path)
        with bad_input_ends_it():
            tree = Marked(source.decode(), self.path).without(self._config.getoption(OPTION))
        rewrite_asserts(tree, source, self.path, self._config)
        code: CodeType = compile(tree, self.path, "exec", dont_inherit=True)
        return code
