"""`rookery faults`, and the page that is made of it."""

import json
from pathlib import Path

from rookery import cli
from rookery.cli import faults
from rookery.faults import ALL, NodeDeletion, NodePause

PAGE = Path(__file__).parents[2] / "docs/faults.md"


def test_the_page_has_the_faults_as_they_are():
    assert faults.markdown() in PAGE.read_text(encoding="utf-8"), (
        "make it again: rookery faults --markdown, into docs/faults.md"
    )


def test_each_is_listed_with_why_this_machine_cannot_do_it(capsys, monkeypatch):
    monkeypatch.setattr(NodePause, "machine_lacks", classmethod(lambda cls: "no freezer"))
    assert cli.main(["faults"]) == 0
    told = capsys.readouterr().out
    assert all(f"{each.name} ({each.__name__})" in told for each in ALL)
    assert "node pause (NodePause): not on this machine: no freezer" in told
    assert f"  not drawn: {NodeDeletion.not_drawn}\n" in told


def test_json_has_all_of_it(capsys, monkeypatch):
    monkeypatch.setattr(NodePause, "machine_lacks", classmethod(lambda cls: "no freezer"))
    assert cli.main(["faults", "--json"]) == 0
    told = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert told.keys() == {each.name for each in ALL}
    assert (told["node pause"]["possible"], told["node pause"]["why_not"]) == (False, "no freezer")
    assert (told["node kill"]["loses_unsynced"], told["Ceph destruction"]["heals"]) == (True, False)
    assert (told["node deletion"]["not_drawn"], told["node kill"]["not_drawn"]) == (NodeDeletion.not_drawn, None)
