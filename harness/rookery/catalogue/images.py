"""Which images scenarios ask for, beside those that every run needs: what a run makes or pulls, and nothing more.

A fixture that deploys something names its images, and whoever asks for the fixture asks for them:

    @pytest.fixture
    @uses_images("docker.io/library/nginx:1.29")
    def web_server(cluster): ...

A scenario that deploys something itself is decorated in the same way. A fixture that is only asked for by
`request.getfixturevalue` is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import pytest

from rookery.workloads.registry import Kind

Function = TypeVar("Function", bound=Callable[..., Any])

_ATTRIBUTE = "_rookery_images"


class OfPods:
    """Stands for the image of the storage system's `pods_run`, which is another one with each."""


def uses_images(*references: str | Kind | type[OfPods]) -> Callable[[Function], Function]:
    """Name the images of what a fixture deploys, or the workload; stands below `@pytest.fixture`."""

    def named(function: Function) -> Function:
        setattr(function, _ATTRIBUTE, references)
        return function

    return named


def images_used_by(
    items: Iterable[pytest.Item],
    *,
    versions: Mapping[str, str] | None = None,
    of_pods: Callable[[], str] = lambda: "",
) -> frozenset[str]:
    """What these scenarios and all of their fixtures have named; a workload's image in its version of `versions`, by
    the workload's name, or else in its default version. `of_pods` is asked for the image of `OfPods`, "" for none that
    the storage system does not have by itself."""
    functions = (function for item in items for function in _functions_of(item))
    named = {reference for function in functions for reference in getattr(function, _ATTRIBUTE, ())}
    kinds = {each for each in named if isinstance(each, Kind)}
    images = {each for each in named if isinstance(each, str)}
    images |= {kind.image_of((versions or {}).get(kind.name)) for kind in kinds}
    return frozenset(filter(None, images | ({of_pods()} if OfPods in named else set())))


def _functions_of(item: pytest.Item) -> Iterator[Callable[..., Any]]:
    """The scenario and its fixtures, with those that they override: an overriding one mostly asks for what it hides.

    Which functions stand behind the names in `item.fixturenames`, pytest tells by `_fixtureinfo` alone, which has had
    this form since 3.0; `request` tells it too, but only once the scenario runs, when its images have to be there.
    """
    if isinstance(item, pytest.Function):
        yield item.function
    info = getattr(item, "_fixtureinfo", None)  # an item that is no function has none
    for definitions in info.name2fixturedefs.values() if info else ():
        for definition in definitions:
            yield definition.func
