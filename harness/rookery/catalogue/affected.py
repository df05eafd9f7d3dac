"""With which version a report is run: one that has it, if such a one can be had."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from rookery.errors import UsageError
from rookery.images.available import numbers
from rookery.settings import Settings, option_name
from rookery.settings_check import check

Versions = Callable[[str], Sequence[str]]
"""The versions of a product that can be had."""


@dataclass(frozen=True)
class Choice:
    """The settings of the run, what they have beside those asked for, as options of pytest, and why."""

    settings: Settings
    options: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


def choose(ranges: Mapping[str, str], settings: Settings, by_hand: Collection[str], there: Versions) -> Choice:
    """Of each product in `ranges` a version that is in its range.

    That is the one of the settings if it is in range, so that saved clusters serve, or was asked for `by_hand`; else
    the newest there is that fits the other settings.
    """
    choice = Choice(settings)
    for product, affected in ranges.items():
        choice = _chosen(product, affected, choice, product in by_hand, there)
    return choice


def _chosen(product: str, affected: str, choice: Choice, by_hand: bool, there: Versions) -> Choice:
    now, named = getattr(choice.settings, product), f"{product} {affected}"
    if now is not None and within(now, affected):
        return choice
    if by_hand:
        return _because(choice, f"{product} {now} is none of the affected ones ({affected}): a guard")
    for version in sorted(there(product), key=numbers, reverse=True):
        if within(version, affected) and (fitting := _with(choice.settings, product, version)):
            options = (*choice.options, f"{option_name(product)}={version}")
            return _because(Choice(fitting, options, choice.reasons), f"{product} {version} is affected ({affected})")
    return _because(choice, f"no affected version ({named}) can be had here, or fits the others: a guard")


def within(version: str, affected: str) -> bool:
    """Whether a version is in that range; what is no version, such as a tag of its own form, is in none."""
    try:
        return SpecifierSet(affected).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def _with(settings: Settings, product: str, version: str) -> Settings | None:
    """The settings with that version of a product; None where it does not fit them."""
    changed: dict[str, Any] = {product: version}
    try:
        return check(replace(settings, **changed), only=[product])
    except UsageError:
        return None


def _because(choice: Choice, line: str) -> Choice:
    return replace(choice, reasons=(*choice.reasons, line))
