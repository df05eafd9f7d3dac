"""The beginning of a scenario of a report: its file and its entry in the ledger, with what is to be filled in."""

from __future__ import annotations

import re
from pathlib import Path

from rookery.catalogue import ledger
from rookery.catalogue.markers import Bug
from rookery.errors import UsageError

TODO = "TODO"
_SCENARIO = '''\
"""TODO: what happens, in one sentence.

TODO: what happened to whom, and why nobody saw it coming.

Steps: TODO

Symptom: TODO

Workaround: TODO

Proof: TODO
"""

import pytest
from rookery import signatures

pytestmark = pytest.mark.budget(180)

# TODO: the text as an event, a log or an answer of a real run has it, with … for what differs from time to time
SYMPTOM = signatures.Signature(
    text="TODO",
    shown_by=signatures.ShownBy.EVENT,
    of="TODO",
    source="{url}",
)


@pytest.mark.bug("{url}", symptom=SYMPTOM)
def test_{name}(cluster, cluster_volumes):
    """TODO: what this test shows, if there is more than one."""
    claim = cluster_volumes.claim("data")
    pod = cluster_volumes.pod("writer", claim)
    before = pod.write("before", mebibytes=16)

    # TODO: the steps; the line of the one that brings the symptom about ends in `# cause`
    claim.event(SYMPTOM).wait()

    # TODO: the workaround; its lines end in `# workaround`

    # The proof.
    assert pod.checksum("before") == before
'''
_ENTRY = """\

[[report]]
url = "{url}"
title = ""
product = ""
affected = ""
fixed = ""
cause = ""
workaround = ""
status = "not reproduced"
seen = ""
sabotage = ""
"""


def write(address: str, folder: Path) -> list[Path]:
    """Write the scenario's file below the folder of scenarios, and its entry in the ledger; returns both.

    Raises `UsageError` where either is there already; nothing is written then.
    """
    url = ledger.address_of(address)
    name = name_of(url)
    path, book = folder / ledger.FILE.parent / f"test_{name}.py", folder / ledger.FILE
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", hint="go to the project's folder, or give --scenarios DIR")
    if Bug(url).short in {report.short for report in ledger.load(folder)}:
        raise UsageError(f"{book} has {Bug(url).short} already", hint=f"rookery bugs {Bug(url).short}")
    if path.exists():
        raise UsageError(f"{path} is there already", hint="another name, or go on with that file")
    path.parent.mkdir(exist_ok=True)
    path.write_text(_SCENARIO.format(url=url, name=name), encoding="utf-8")
    with book.open("a", encoding="utf-8") as file:
        file.write(_ENTRY.format(url=url))
    return [path, book]


def name_of(url: str) -> str:
    """`rook_16428` for an issue of GitHub; of another address its last part that says something."""
    repository, _, number = Bug(url).short.rpartition("/")[2].partition("#")
    name = f"{repository}_{number}" if number.isdigit() else url.rstrip("/").rpartition("/")[2]
    return re.sub(r"\W+", "_", name).strip("_").lower()
