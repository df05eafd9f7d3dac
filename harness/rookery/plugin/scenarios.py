"""Which of a run's tests are scenarios: those that use a fixture of ours, and those that say so by the marker.

Everything that the plugin does is done to them alone; whatever else a project tests is run as if it were not there.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from types import ModuleType

import pytest

from rookery.catalogue.markers import SCENARIO
from rookery.plugin import fixtures


def is_scenario(item: pytest.Item) -> bool:
    return item.get_closest_marker(SCENARIO) is not None


def is_ours(item: pytest.Item) -> bool:
    """Whether it is marked as a scenario, or asks for a fixture of ours, or for none that there is but nearly ours."""
    return is_scenario(item) or any(uses(item, name) or _means(item, name) for name in _names_of(item))


def uses(item: pytest.Item, name: str) -> bool:
    """Whether a test gets the plugin's own fixture of that name, directly, or through one that overrides it."""
    definitions = _definitions(item, name)
    while definitions:
        definition = definitions[-1]
        if definition.func.__module__ == fixtures.__name__:
            return True
        if name not in definition.argnames:  # it does not build on what it overrides
            return False
        definitions = definitions[:-1]
    return False


def missing(item: pytest.Function) -> list[str]:
    """The fixtures that it asks for, itself or by another one, and that nobody provides."""
    given = {"request", *(item.callspec.params if hasattr(item, "callspec") else ())}
    return [name for name in _names_of(item) if name not in given and not _definitions(item, name)]


def our_fixtures(config: pytest.Config) -> ModuleType:
    """A plugin with our fixtures, but those that another plugin has as well: pytest takes the one of the plugin that is
    loaded last, and `postgresql` is pytest-postgresql's. What a conftest has overrides ours, as it should."""
    plugins = [vars(plugin) for plugin in config.pluginmanager.get_plugins() if _is_module(plugin)]
    config.stash[LEFT] = [name for name in OURS if any(_is_fixture(plugin.get(name)) for plugin in plugins)]
    ours = ModuleType(fixtures.__name__)
    vars(ours).update((name, getattr(fixtures, name)) for name in OURS if name not in config.stash[LEFT])
    return ours


def _is_fixture(found: object) -> bool:
    return type(found).__name__ == "FixtureFunctionDefinition" or hasattr(found, "_pytestfixturefunction")  # pytest 8


def _is_module(plugin: object) -> bool:
    """Whether it is a module that is no conftest."""
    return isinstance(plugin, ModuleType) and Path(plugin.__file__ or "").name != "conftest.py"


def fixtures_of_others(config: pytest.Config) -> str:
    """Which fixtures another plugin has in this run as well; empty if none."""
    left = config.stash[LEFT]
    return f"fixtures left to others in this run: {', '.join(left)}" if left else ""


LEFT = pytest.StashKey[list[str]]()  # the names of fixtures that are not ours in this run
NEARLY = 0.8  # so much alike that it was meant: `clustr` is, and `setings` is not
OURS = [name for name, found in vars(fixtures).items() if _is_fixture(found)]


def _means(item: pytest.Item, name: str) -> bool:
    return (
        isinstance(item, pytest.Function)
        and name in missing(item)
        and bool(get_close_matches(name, OURS, n=1, cutoff=NEARLY))
    )


def _names_of(item: pytest.Item) -> list[str]:
    return list(getattr(item, "fixturenames", []))


def _definitions(item: pytest.Item, name: str) -> tuple:
    """Those of one name, each overriding those before it. pytest tells them by `_fixtureinfo` alone, since 3.0."""
    info = getattr(item, "_fixtureinfo", None)  # an item that is no function has none
    return tuple(info.name2fixturedefs.get(name, ())) if info else ()
