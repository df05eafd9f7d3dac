"""The pages of the reference that are made from the code, so that they cannot become untrue.

`python docs/generated.py` writes those of options, markers and fixtures, which are read in the repository as well; a
test compares them. That of the API has directives of mkdocstrings, so it is made when the site is built: mkdocs calls
`on_files` (mkdocs.yml, `hooks`). What is needed is the package itself, no cluster and no docker.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import rookery
from _pytest.fixtures import FixtureFunctionDefinition
from rookery.catalogue import markers
from rookery.faults import Fault
from rookery.settings import PREFIX, Settings, option_name

COLLECTED = "--collected"
MADE = "<!-- Made by `python docs/generated.py` of the code: change that. -->"
SHOWN_BY_PYTEST = 60.0  # seconds that pytest may take to collect nothing


def options() -> str:
    rows = []
    for setting in fields(Settings):
        meta = setting.metadata
        values = " \\| ".join(meta["choices"]) or meta["metavar"]
        default = "" if setting.default in (None, False) else f"`{setting.default}`"
        option = f"`{option_name(setting.name)}{' ' if values else ''}{values}`"
        rows.append((option, f"`{PREFIX}{setting.name.upper()}`", default, _cell(meta["help"])))
    return _page(
        "Options",
        "Of `pytest`. Each is also a variable, and a key of `[tool.rookery]` in pyproject.toml (the option's name "
        "without its dashes in front). An option beats the variable, the variable beats pyproject.toml, and that beats "
        "the default. A variable that begins with `ROOKERY_` and is none of these is refused with exit status 2. "
        "An option that another plugin or a conftest has as well stays theirs; the variable is always ours.",
        ("option", "variable", "default", ""),
        rows,
    )


def marks() -> str:
    rows = []
    for signature in markers.SIGNATURES.values():
        name, _, text = signature.partition(": ")
        rows.append((f"`{name}`", _cell(text)))
    return _page(
        "Markers",
        "`pytest.mark.…` of a scenario, or of a whole file by `pytestmark`. "
        "[Writing a scenario](../writing-scenarios.md) says what they are for.",
        ("marker", ""),
        rows,
    )


def fixtures() -> str:
    rows = [(f"`{name}`", scope, _cell(_first_paragraph(doc))) for name, scope, doc in _fixtures_of_the_plugin()]
    return _page(
        "Fixtures",
        "What a scenario can ask for by name. A scenario that asks for one that nobody provides ends the run before a "
        "cluster is made, with exit status 2. In what state a cluster is found: "
        "[a pristine cluster for every scenario](../snapshots.md#what-a-scenario-gets).",
        ("fixture", "scope", ""),
        rows,
    )


def api() -> str:
    """Each exported name, for mkdocstrings to put its docstring there; those of a module below that."""
    modules = {name: found for name, found in _exported(rookery) if inspect.ismodule(found)}
    lines = [
        "# API",
        "",
        "All that `from rookery import …` gives, made from the docstrings. "
        "[Fixtures](fixtures.md) hand out the objects that a scenario works with.",
        *_documented("rookery", [found for _, found in _exported(rookery)]),
        *(
            line
            for name, module in modules.items()
            for line in _documented(f"rookery.{name}", [found for _, found in _exported(module)])
        ),
    ]
    return "\n".join(lines) + "\n"


def _exported(module: ModuleType) -> Iterator[tuple[str, Any]]:
    own = [name for name, found in vars(module).items() if getattr(found, "__module__", "") == module.__name__]
    for name in getattr(module, "__all__", [name for name in own if not name.startswith("_")]):
        yield name, getattr(module, name)


def _documented(title: str, found: Iterable[Any]) -> list[str]:
    """A section with the classes and functions among them. What else there is, such as signatures, says itself."""
    documented = [each for each in found if inspect.isclass(each) or inspect.isroutine(each)]
    return [
        "",
        f"## `{title}`",
        *(
            f"\n::: {each.__module__}.{each.__qualname__}\n    options:\n      inherited_members: {_has_others(each)}"
            for each in documented
        ),
    ]


def _has_others(found: Any) -> str:
    """Whether what it inherits is shown beside it: a workload has most from its base, faults all have the same."""
    return "false" if inspect.isclass(found) and issubclass(found, (Fault, Exception)) else "true"


DOCS = Path(__file__).parent
COMMITTED: dict[str, Callable[[], str]] = {
    "reference/options.md": options,
    "reference/markers.md": marks,
    "reference/fixtures.md": fixtures,
}
API = "reference/api.md"


def on_files(files, config):
    from mkdocs.structure.files import File

    files.append(File.generated(config, API, content=api()))
    return files


def _fixtures_of_the_plugin() -> Iterator[tuple[str, str, str]]:
    """Name, scope and docstring of each, as pytest itself sees them: in a process of its own, in an empty folder."""
    with tempfile.TemporaryDirectory() as empty:
        argv = [sys.executable, __file__, COLLECTED, empty]
        done = subprocess.run(
            argv, cwd=empty, capture_output=True, encoding="utf-8", timeout=SHOWN_BY_PYTEST, check=True
        )
    yield from json.loads(done.stdout.splitlines()[-1])


def _is_ours(plugin: object) -> bool:
    return getattr(plugin, "__name__", "").split(".")[0] == "rookery"


class _Fixtures:
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        # pytest lists fixtures as text alone (`--fixtures`); what stands behind a name is this since pytest 8.4.
        plugins = [plugin for plugin in session.config.pluginmanager.get_plugins() if _is_ours(plugin)]
        defined = {id(value): value for plugin in plugins for value in vars(plugin).values()}.values()
        self.found = sorted(
            (each.name, each._fixture_function_marker.scope, inspect.cleandoc(each.__doc__ or ""))
            for each in defined
            if isinstance(each, FixtureFunctionDefinition) and not each.name.startswith("_")
        )


def _page(title: str, text: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"# {title}", "", MADE, "", text, "", f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def _first_paragraph(doc: str) -> str:
    return " ".join(doc.partition("\n\n")[0].split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _show_fixtures(folder: str) -> None:
    """Print what `_fixtures_of_the_plugin` reads: pytest prints lines of its own before."""
    there = _Fixtures()
    pytest.main(["--collect-only", "-qq", "-p", "no:cacheprovider", folder], plugins=[there])
    print(f"\n{json.dumps(there.found)}")


if __name__ == "__main__":
    if sys.argv[1:2] == [COLLECTED]:
        _show_fixtures(sys.argv[2])
    else:
        for name, made in COMMITTED.items():
            (DOCS / name).write_text(made(), encoding="utf-8")
