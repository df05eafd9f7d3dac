import json
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from harness import __version__, cli
from harness.errors import BadInput, InfrastructureError
from harness.images.resolve import Image, Origin
from harness.machine.doctor import Check
from harness.waiting import DeadlineExceeded


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["--help"], ["doctor", "setup", "images", "sweep", "examples:"]),
        (["doctor", "--help"], ["--json", "0 all ok, 1 something degraded, 2 something missing"]),
        (["setup", "--help"], ["--stop-engine", "idempotent"]),
        (["sweep", "--help"], ["--all", "--json"]),
        (["images", "--help"], ["ensure", "save", "load", "--json", "--registry-mirror HOST"]),
        (["images", "ensure", "--help"], ["--rook VERSION", "--driver {auto,ceph-csi,rbd-fuse}"]),
        (["images", "save", "--help"], ["file", "--rook VERSION"]),
        (["images", "load", "--help"], ["file"]),
        (["--version"], [__version__]),
    ],
)
def test_help_and_version(capsys, monkeypatch, argv, shown):
    monkeypatch.setenv("COLUMNS", "200")
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


@pytest.mark.parametrize(("states", "status"), [(["ok"], 0), (["ok", "degraded"], 1), (["missing", "degraded"], 2)])
def test_doctor_prints_json_and_its_verdict_is_the_exit_status(monkeypatch, capsys, states, status):
    monkeypatch.setattr(cli.doctor, "diagnose", lambda: [Check(f"check of {s}", s, "found", "cure") for s in states])
    assert cli.main(["doctor", "--json"]) == status
    assert [(check["name"], check["state"]) for check in json.loads(capsys.readouterr().out)] == [
        (f"check of {state}", state) for state in states
    ]
    assert cli.main(["doctor"]) == status
    assert f"check of {states[0]}" in capsys.readouterr().out


@pytest.mark.parametrize(("option", "called"), [([], "setup"), (["--stop-engine"], "stop_engine")])
def test_setup_either_sets_up_or_stops_its_engine(monkeypatch, option, called):
    calls = []
    monkeypatch.setattr(cli.setup, "setup", lambda build_kind, say: calls.append("setup"))
    monkeypatch.setattr(cli.setup, "stop_engine", lambda say: calls.append("stop_engine"))
    assert cli.main(["setup", *option]) == 0
    assert calls == [called]


@pytest.fixture
def images(monkeypatch):
    """A run that needs two images, of which the engine has one."""
    here = Image("quay.io/ceph/ceph:v18.2.7", Origin.BUILT, 3 * 1024**3, "2026-11-24T08:00:00.123456789Z", "abc")
    lacking = Image("localhost/rookery/rbd-fuse-csi:1", Origin.MISSING)
    found = {image.reference: image for image in (here, lacking)}
    monkeypatch.setattr(cli.storage, "needed_images", lambda settings: SimpleNamespace(all=tuple(found)))
    monkeypatch.setattr(cli.resolve, "look", found.__getitem__)
    return found


def test_images_are_listed_as_json_with_who_made_them(images, capsys):
    assert cli.main(["images", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(image["reference"], image["origin"], image["size"]) for image in listed] == [
        ("quay.io/ceph/ceph:v18.2.7", "built from packages", 3 * 1024**3),
        ("localhost/rookery/rbd-fuse-csi:1", "missing", 0),
    ]


def test_images_are_listed_with_what_can_be_built(images, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main(["images"]) == 0
    built, lacking = [line for line in capsys.readouterr().out.splitlines() if ":" in line]
    assert "built from packages" in built
    assert "3.00 GiB" in built
    assert "missing, can be built" in lacking


def test_images_that_are_not_here_are_not_saved(images, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(cli.resolve.engine, "usable", lambda reference: None)
    assert cli.main(["images", "save", str(tmp_path / "images.tar")]) == 3
    assert "cure: `rookery images ensure` first" in capsys.readouterr().err


@pytest.mark.parametrize(("hours", "age"), [(1, "1 h"), (47, "47 h"), (24 * 9, "9 days")])
def test_the_age_of_an_image_is_in_the_unit_one_would_say(hours, age):
    then = datetime.now(timezone.utc) - timedelta(hours=hours)
    assert cli._age(f"{then:%Y-%m-%dT%H:%M:%S}.123456789Z") == age


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
