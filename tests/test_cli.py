import json
from types import SimpleNamespace

import pytest

from harness import __version__, cli
from harness.errors import BadInput, InfrastructureError
from harness.waiting import DeadlineExceeded


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["--help"], ["doctor", "setup", "images", "sweep", "examples:"]),
        (["sweep", "--help"], ["--all", "--json"]),
        (["images", "ensure", "--help"], ["--rook VERSION", "--driver {auto,ceph-csi,rbd-fuse}"]),
        (["--version"], [__version__]),
    ],
)
def test_help_and_version(capsys, argv, shown):
    with pytest.raises(SystemExit) as end:
        cli.main(argv)
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert [text for text in shown if text not in out] == []


@pytest.mark.parametrize("argv", [[], ["unknown"], ["sweep", "--unknown"], ["images", "--driver", "nfs"]])
def test_a_wrong_command_line_is_bad_input(argv, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(argv)
    assert end.value.code == 2


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (BadInput("no such Rook", cure="one of 1.18"), 2, "rookery: no such Rook\n  cure: one of 1.18\n"),
        (InfrastructureError("docker is gone"), 3, "rookery: docker is gone\n"),
        (DeadlineExceeded("the engine", 60, "no socket"), 3, "the engine: not within 60 s; last reason: no socket\n"),
        (KeyboardInterrupt(), 130, "rookery: interrupted\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_an_error_is_one_message_and_its_exit_status(monkeypatch, capsys, error, status, said):
    def fail(**_):
        raise error

    monkeypatch.setattr(cli, "sweep", fail)
    assert cli.main(["sweep"]) == status
    captured = capsys.readouterr()
    assert captured.err.endswith(said)
    assert "Traceback" not in captured.err
    assert captured.out == ""


@pytest.fixture
def machine(monkeypatch):
    """What a sweep finds to remove, and which clusters are kept."""
    machine = SimpleNamespace(left=[], leases=[], everything=None)

    def sweep(*, everything):
        machine.everything = everything
        return machine.left

    monkeypatch.setattr(cli, "sweep", sweep)
    monkeypatch.setattr(cli.Lease, "all", lambda: machine.leases)
    return machine


@pytest.mark.parametrize("everything", [True, False])
def test_sweep_prints_what_it_removed_as_json(machine, capsys, everything):
    machine.left = ["cluster rookery", "loop /dev/loop3 (/d/1.img)"]
    assert cli.main(["sweep", "--json", *(["--all"] if everything else [])]) == 0
    assert json.loads(capsys.readouterr().out) == machine.left
    assert machine.everything is everything


def test_sweep_names_what_is_kept(machine, capsys):
    machine.left = ["loop /dev/loop3"]
    machine.leases = [SimpleNamespace(name="mine", kept=True), SimpleNamespace(name="running", kept=False)]
    assert cli.main(["sweep"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("removed loop /dev/loop3\nkept: mine;")
    assert "running" not in out


def test_sweep_says_that_there_was_nothing(machine, capsys):
    assert cli.main(["sweep"]) == 0
    assert capsys.readouterr().out == "nothing to remove\n"


def test_an_option_of_images_may_stand_before_the_inner_command(monkeypatch, capsys):
    asked = []

    def ensure(settings, say):
        asked.append(settings)
        return None, []

    monkeypatch.setattr(cli.storage, "ensure_images", ensure)
    assert cli.main(["images", "--rook", "v1.17.9", "ensure", "--ceph", "19.2.3"]) == 0
    assert [(settings.rook, settings.ceph) for settings in asked] == [("1.17.9", "19.2.3")]
    assert "0 images" in capsys.readouterr().out
