"""What makes a class of tests a fake of a real one; of the standard library alone, for the tests of the drivers too."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

_ANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def plays(*reals: type) -> Callable[[type], type]:
    """Decorates a fake: what it has of a real class's methods takes the same arguments, or it is no fake of it.

    It may leave away those that have a default: a test that gave one would fail by that. One that stands in for several
    classes at once has a method as one of those has it. Raises `TypeError`.
    """

    def compared(fake: type) -> type:
        wrong = [told for name in vars(fake) if (told := _differs(fake, reals, name))]
        if wrong:
            raise TypeError(f"{fake.__qualname__} is no {' or '.join(it.__name__ for it in reals)}: {'; '.join(wrong)}")
        return fake

    return compared


def _differs(fake: type, reals: Sequence[type], name: str) -> str:
    """In what a fake's method differs from that of each real class that has it; from the first of them, if several."""
    own = vars(fake)[name]
    theirs = [inspect.getattr_static(real, name) for real in reals if hasattr(real, name)]
    if name.startswith("_") or not inspect.isfunction(own):
        return ""
    told = [_told(own, their) for their in theirs]
    return f"{name} {told[0]}" if all(told) and told else ""


def _told(own: Callable[..., object], their: object) -> str:
    if isinstance(their, staticmethod | classmethod):
        return ""
    if not callable(their):
        return "is no method"
    takes, expected = inspect.signature(own).parameters, inspect.signature(their).parameters
    anything = any(each.kind in _ANY for each in takes.values())
    told = [f"takes no {each.name}" for each in takes.values() if each.kind not in _ANY and each.name not in expected]
    needed = [each.name for each in expected.values() if each.kind not in _ANY and each.default is each.empty]
    told += [f"needs {each}" for each in needed if not anything and each not in takes]
    return ", ".join(told)
