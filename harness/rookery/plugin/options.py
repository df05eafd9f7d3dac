"""The plugin's options: each setting is one, and pytest-kind's own plugin, which has the same ones, is replaced."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import Field, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from rookery.errors import UsageError
from rookery.plugin.outcomes import USAGE
from rookery.settings import OTHER_VARIABLES, PATHS, PREFIX, Joined, Settings, option_name

SETTINGS = pytest.StashKey[Settings]()
PARSER = pytest.StashKey[pytest.Parser]()
OURS = pytest.StashKey[frozenset[str]]()  # the settings whose options are ours in this run
GROUP = "rookery"


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    # pytest-kind's own plugin has the same options and the same fixture; the class is used, its plugin is replaced.
    # Plugins are loaded in the order in which a directory lists their packages, so it may be there already.
    if pluginmanager.has_plugin("pytest-kind"):
        _withdraw_options(parser, "kind")
    pluginmanager.set_blocked("pytest-kind")


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Iterator[None]:
    """Add our options last of all, when every plugin and conftest has its own: a name that another has stays its.

    Whoever adds a name for the second time ends the run, and many a conftest has a `--slow`.
    """
    _spare_values(early_config, parser, args)
    try:
        return (yield)
    finally:
        theirs = _options_of(parser)
        free = [each for each in fields(Settings) if option_name(each.name) not in theirs]
        early_config.stash[PARSER], early_config.stash[OURS] = parser, frozenset(each.name for each in free)
        group = parser.getgroup(GROUP, "rookery: storage on throwaway Kubernetes clusters")
        for setting in free:
            _add(group, setting)


def _options_of(parser: pytest.Parser) -> set[str]:
    """The options that there are by now: pytest tells nobody, and adding one to see is too late with pytest 8."""
    groups = [parser._anonymous, *parser._groups]
    return {name for group in groups for option in group.options for name in option.names()}


def _add(group: pytest.OptionGroup, setting: Field) -> None:
    meta = setting.metadata
    options: dict[str, Any] = (
        {"action": "store_true"} if setting.default is False else {"metavar": meta["metavar"] or None}
    )
    if meta["choices"]:  # shown here, and checked with all other settings: bad input has one exit status
        options = {"metavar": f"{{{','.join(meta['choices'])}}}"}
    if meta["repeated"]:
        options["action"] = Joined
    shown = "" if setting.default in (None, False) else f" (default: {setting.default})"
    # A destination of our own: what others read by `config.option` is theirs.
    group.addoption(
        option_name(setting.name), dest=_dest(setting.name), default=None, help=meta["help"] + shown, **options
    )


def _dest(name: str) -> str:
    return f"rookery_{name}"


def _withdraw_options(parser: pytest.Parser, group: str) -> None:
    """Have the options of a group as if nobody had added them."""
    options = parser.getgroup(group).options
    for option in options:
        if hasattr(option, "_action"):  # pytest 9 has given it to argparse by now, 8 only when that is to parse
            action = option._action
            parser.optparser._handle_conflict_resolve(action, [(name, action) for name in action.option_strings])
    options.clear()


def _spare_values(config: pytest.Config, parser: pytest.Parser, args: Sequence[str]) -> None:
    """Have pytest not look for conftests in what our options are given: it does not know them yet.

    What may be a folder of tests, behind a switch of the same name that a conftest there is about to add, stays.
    """
    folders, theirs = config.known_args_namespace.file_or_dir, _options_of(parser)
    for option, value in pairwise(args):
        name = _WITH_VALUE.get(option)
        if name and option not in theirs and value in folders and (name in PATHS or not Path(value).exists()):
            folders.remove(value)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Begin anew where pytest has taken what an option of ours was given for a folder of tests.

    pytest looks for its root folder before it knows any plugin's options, among all arguments that exist as paths: with
    `--results-dir DIR` it would be another one from the second run on, and with it the configuration and the tests.
    """
    if PARSER not in config.stash:  # a conftest has loaded the plugin, too late for options
        return None
    if not config.option.help:  # conftests in other folders are still to come, and may add what they like
        _withdraw_options(config.stash[PARSER], GROUP)
    given = [*map(str, config.invocation_params.args)]
    joined = _joined(given, {option for option, name in _WITH_VALUE.items() if name in config.stash[OURS]})
    if joined == given or hasattr(config, "workerinput"):
        return None
    return pytest.main(joined, plugins=config.invocation_params.plugins)


_WITH_VALUE = {option_name(each.name): each.name for each in fields(Settings) if each.default is not False}


def _joined(arguments: Sequence[str], ours: Collection[str]) -> list[str]:
    """With `--results-dir=DIR` for `--results-dir DIR`, which is not taken for a path, where there is such a path."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in ours and Path(argument).exists():
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def of_others(config: pytest.Config) -> str:
    """Which options another plugin or conftest has in this run, and what scenarios read instead; empty if none."""
    theirs = [setting.name for setting in fields(Settings) if setting.name not in config.stash.get(OURS, frozenset())]
    options, variables = ", ".join(map(option_name, theirs)), ", ".join(PREFIX + name.upper() for name in theirs)
    return f"options left to others in this run: {options}; scenarios read {variables}" if theirs else ""


def given(config: pytest.Config) -> dict[str, object]:
    """What was given for each setting on the command line; None for what was not."""
    return {setting.name: getattr(config.option, _dest(setting.name), None) for setting in fields(Settings)}


def asked(config: pytest.Config) -> bool:
    """Whether this run was told anything that is for scenarios; without it, it may have none."""
    on_command_line = any(value not in (None, False) for value in given(config).values())
    others = [PREFIX + name for name in OTHER_VARIABLES]
    return on_command_line or any(name.startswith(PREFIX) and name not in others for name in os.environ)


def settings_of(config: pytest.Config) -> Settings:
    """What this run is asked for, with all that was given looked at, before anything is made."""
    from rookery.settings_check import check

    if SETTINGS not in config.stash:
        with bad_input_ends_it():
            settings = Settings.from_sources(given(config), pyproject=config.rootpath / "pyproject.toml")
            config.stash[SETTINGS] = check(settings, only=settings.changed)
    return config.stash[SETTINGS]


def check_all(config: pytest.Config, kind_configs: Iterable[str]) -> None:
    """Look at all settings of a run that makes a cluster, and at the kind configurations that scenarios ask for."""
    from rookery.settings_check import check

    settings = settings_of(config)
    with bad_input_ends_it():
        check(settings)
        for each in sorted(set(kind_configs) - {""}):
            check(replace(settings, kind_config=each), only=["kind_config"])


@contextmanager
def bad_input_ends_it() -> Iterator[None]:
    """No scenario can be run with such settings."""
    try:
        yield
    except UsageError as error:
        pytest.exit(str(error), returncode=USAGE)
