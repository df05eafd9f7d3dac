"""What set-up has changed on this machine, written down before it does, so that it can be taken back.

<state>/setup.json    a list of changes, the oldest first
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from rookery.errors import InfrastructureError
from rookery.machine.processes import boot_id
from rookery.paths import make_state_dir, state_dir

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Change:
    """One thing that is not as it was.

    | kind | name | before | after |
    | --- | --- | --- | --- |
    | package | of the distribution, which was not installed | | |
    | file | its path; nothing was there | | the text in it, if that may be edited by others |
    | enabled, active | a unit of systemd | what `systemctl is-enabled`, or `is-active`, said | |
    | module | of the kernel, which was not loaded | | |
    | limit | a file below /proc/sys | its number | the number now |
    """

    kind: str
    name: str
    before: str = ""
    after: str = ""
    boot: str = ""  # of what does not outlive one


class Changes:
    """Makes changes, each logged and written down first; with `dry_run` they are logged and nothing else."""

    def __init__(self, *, dry_run: bool = False) -> None:
        self.dry_run = dry_run
        self.any = False  # was made, or would be

    def make(self, what: str, do: Callable[[], object], changes: Iterable[Change] = ()) -> None:
        self.any = True
        if self.dry_run:
            log.info("would do: %s", what)
            return
        add(changes)
        log.info("%s", what)
        do()


def of_this_boot(kind: str, name: str, before: str = "", after: str = "") -> Change:
    return Change(kind, name, before, after, boot_id())


def add(changes: Iterable[Change]) -> None:
    """Write them down; of what was changed before, as it was in the beginning counts."""
    known = recorded()
    there = {(change.kind, change.name, change.boot) for change in known}
    new = [change for change in changes if (change.kind, change.name, change.boot) not in there]
    if new:
        _write([*known, *new])


def forget(change: Change) -> None:
    """Take it out: it is as it was again, or not ours any more."""
    left = [each for each in recorded() if each != change]
    if left:
        _write(left)
    else:
        _path().unlink(missing_ok=True)


def recorded() -> list[Change]:
    """Every change, the oldest first. Raises `InfrastructureError` if the record is damaged."""
    try:
        return [Change(**each) for each in json.loads(_path().read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise InfrastructureError(f"{_path()} is not a record of set-up: {error}", hint=f"see {_path()}") from error


def _path() -> Path:
    return state_dir() / "setup.json"


def _write(changes: list[Change]) -> None:
    path = _path()
    make_state_dir()
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps([asdict(change) for change in changes], indent=1), encoding="utf-8")
    draft.replace(path)
