import json
import logging
import os
import re
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.table import Table
from rookery import __version__, cli
from rookery.bench import common as bench_common
from rookery.bench import history, volumes
from rookery.bench.common import Bench, Goal
from rookery.catalogue import collection
from rookery.cli import sweep as sweeping
from rookery.cli import tables
from rookery.cli.bench import BENCHES
from rookery.cluster import snapshots, stores
from rookery.cluster.snapshots import Snapshot
from rookery.errors import DeadlineExceeded, InfrastructureError, UsageError
from rookery.images import engine, resolve
from rookery.images.resolve import Image, Origin
from rookery.machine import doctor, setup, setup_undo
from rookery.machine.doctor import Check
from rookery.machine.leases import SweepIncomplete
from rookery.settings import Settings
from rookery.storage import images as storage


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["--help"], [*cli.COMMANDS, "examples:"]),
        (["doctor", "--help"], ["--json", "0 all ok, 1 something degraded, 2 something missing"]),
        (["setup", "--help"], ["--dry-run", "--undo", "--stop-engine", "idempotent"]),
        (["sweep", "--help"], ["--all", "--json"]),
        (["images", "--help"], ["ensure", "save", "load", "--json", "--registry-mirror HOST"]),
        (["images", "ensure", "--help"], ["--rook VERSION", "--csi-driver {auto,ceph-csi,userspace}"]),
        (["images", "save", "--help"], ["FILE", "--rook VERSION"]),
        (["images", "load", "--help"], ["FILE"]),
        (["scenarios", "--help"], ["PATTERN", "--json", "--markdown", "--scenarios DIR", "--results-dir DIR"]),
        (["bugs", "--help"], ["PATTERN", "--json", "--markdown", "--scenarios DIR", "not reproduced: tried"]),
        (["reproduce", "--help"], ["REPORT", "--rook VERSION", "--results-dir DIR", "0 reproduced"]),
        (["new", "--help"], ["ADDRESS", "--scenarios DIR"]),
        (["check", "--help"], ["FILE", "--scenarios DIR", "1 something", "--sabotage", "--json", "--rook VERSION"]),
        (["snapshots", "--help"], ["prune", "--json"]),
        (["snapshots", "prune", "--help"], ["--all", "--json"]),
        (["bench", "--help"], [*BENCHES]),
        (["bench", "start", "--help"], ["--runs N", "--json"]),
        (["bench", "history", "--help"], ["--samples N", "--operations N", "--fault-seed N", "--json"]),
        (["bench", "core", "--help"], ["--runs N", "--of DIR", "--json", "--results-dir DIR", "--rook VERSION"]),
        (
            ["bench", "volumes", "--help"],
            ["--rounds N", "--only {bandwidth,random,latency,parallel,operations,sanity}", "--fault-seed N", "--json"],
        ),
        (
            ["bench", "restore", "--help"],
            ["--runs N", "--state {storage,cassandra}", "--verify", "--json", "--rook VERSION"],
        ),
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


@pytest.mark.parametrize("argv", [["unknown"], ["sweep", "--unknown"], ["images", "--csi-driver", "nfs"],
                                  ["bench", "restore", "--keep-cluster"],
                                  ["scenarios", "--json", "--markdown"],
                                  ["bugs", "--json", "--markdown"], ["reproduce"], ["new"], ["check"],
                                  ["reproduce", "rook/rook#1", "--slow"],
                                  ["bench", "core", "--runs", "2", "--of", "results"],
                                  ["bench", "volumes", "--only", "nothing"]])  # fmt: skip
def test_a_wrong_command_line_is_bad_input(argv, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(argv)
    assert end.value.code == 2


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["--unknown"], "rookery"),
        (["scenarios", "--unknown"], "rookery scenarios"),
        (["snapshots", "prune", "--unknown"], "rookery snapshots prune"),
        (["images", "--unknown", "ensure"], "rookery images"),
        (["bench", "page", "--unknown"], "rookery bench page"),
    ],
    ids=str,
)
def test_an_unknown_option_is_reported_with_the_usage_of_its_command(argv, command, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(argv)
    told = capsys.readouterr().err
    assert told.startswith(f"usage: {command} [")
    assert told.endswith(f"{command}: error: unrecognized arguments: --unknown\n")


@pytest.fixture
def unread():
    """A pipe that nobody reads any more, as the one to `head` that has ended."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def rookery(*argv, unbuffered="", **streams):
    """In a process of its own: some of what is written is written when the interpreter ends."""
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    command = [sys.executable, "-m", "rookery", *argv]
    return subprocess.run(command, env=environment, encoding="utf-8", timeout=60, **streams)


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("argv", [["snapshots"], ["snapshots", "--json"], ["setup", "--stop-engine"]], ids=" ".join)
def test_a_reader_that_is_gone_is_no_error_worth_a_word(unread, argv, unbuffered):
    done = rookery(*argv, unbuffered=unbuffered, stdout=unread, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_reader_of_the_help_that_is_gone_is_none_either(unread):
    assert rookery("--help", stdout=unread, stderr=subprocess.PIPE).stderr == ""


def test_a_reader_that_is_gone_on_both_sides_is_none_either(unread):
    assert rookery("snapshots", stdout=unread, stderr=unread).returncode == 1


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)], ids=str)
@pytest.mark.parametrize(("argv", "status"), [("faults", 0), ("unknown", 2)])
def test_a_command_without_output_ends_as_it_would_with_it(argv, status, closed):
    shut = " ".join(f"{descriptor}>&-" for descriptor in closed)
    command = ["sh", "-c", f'exec "$0" -m rookery {argv} {shut}', sys.executable]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)
    assert (done.returncode, "Traceback" in done.stderr) == (status, False)


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_output_without_room_is_the_machine_s(unbuffered):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = rookery("faults", "--json", unbuffered=unbuffered, stdout=full, stderr=subprocess.PIPE)
    said = "rookery: No space left on device\n  hint: `df` says which filesystem is full\n"
    assert (done.returncode, done.stderr) == (3, said)


def test_another_error_of_the_system_is_not_hidden(monkeypatch):
    def fail(**_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(sweeping, "sweep", fail)
    with pytest.raises(OSError, match="Input/output error"):
        cli.main(["sweep"])


def test_what_the_encoding_lacks_is_an_escape(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios/test_it.py").write_text(
        '"""Größer."""\n\n\ndef test_it(cluster):\n    """It."""\n', encoding="utf-8"
    )
    done = rookery("scenarios", "--markdown", cwd=tmp_path, stdout=subprocess.PIPE)
    assert (done.returncode, "Gr\\xf6\\xdfer" in done.stdout) == (0, True)


@pytest.mark.parametrize("argv", [["images", "--available"], ["faults"]], ids=" ".join)
def test_our_own_files_are_read_under_any_locale(monkeypatch, argv):
    for name, value in {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}.items():
        monkeypatch.setenv(name, value)
    done = rookery(*argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_pipe_that_breaks_elsewhere_is_not_taken_for_the_reader(monkeypatch):
    def fail(**_):
        raise BrokenPipeError("docker's socket")

    monkeypatch.setattr(sweeping, "sweep", fail)
    with pytest.raises(BrokenPipeError, match="docker's socket"):
        cli.main(["sweep"])


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UsageError("no such Rook", hint="one of 1.18"), 2, "rookery: no such Rook\n  hint: one of 1.18\n"),
        (InfrastructureError("docker is gone", hint="h"), 3, "rookery: docker is gone\n  hint: h\n"),
        (DeadlineExceeded("the engine", 60, "no socket"), 3, "the engine: not within 60 s; last reason: no socket\n"),
        (
            PermissionError(13, "Permission denied", "/var/lib/rookery/leases.lock"),
            3,
            "rookery: Permission denied: /var/lib/rookery/leases.lock\n  hint: as root: sudo rookery ...\n",
        ),
        (KeyboardInterrupt(), 130, "rookery: interrupted\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_an_error_is_one_message_and_its_exit_status(monkeypatch, capsys, error, status, said):
    def fail(**_):
        raise error

    monkeypatch.setattr(sweeping, "sweep", fail)
    assert cli.main(["sweep"]) == status
    captured = capsys.readouterr()
    assert captured.err.endswith(said)
    assert "Traceback" not in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(("states", "status"), [(["ok"], 0), (["ok", "degraded"], 1), (["missing", "degraded"], 2)])
def test_doctor_prints_json_and_its_verdict_is_the_exit_status(monkeypatch, capsys, states, status):
    monkeypatch.setattr(doctor, "diagnose", lambda: [Check(f"check of {s}", s, "found", "hint") for s in states])
    assert cli.main(["doctor", "--json"]) == status
    assert [(check["name"], check["state"]) for check in json.loads(capsys.readouterr().out)] == [
        (f"check of {state}", state) for state in states
    ]
    assert cli.main(["doctor"]) == status
    assert f"check of {states[0]}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "did"),
    [
        ([], "setup, dry_run=False"),
        (["--dry-run"], "setup, dry_run=True"),
        (["--undo"], "undo, dry_run=False"),
        (["--undo", "--dry-run"], "undo, dry_run=True"),
        (["--stop-engine"], "stop_engine"),
    ],
)
def test_set_up_can_be_previewed_done_and_taken_back(monkeypatch, argv, did):
    done = []
    monkeypatch.setattr(setup, "setup", lambda build, dry_run: done.append(f"setup, {dry_run=}"))
    monkeypatch.setattr(setup_undo, "undo", lambda dry_run: done.append(f"undo, {dry_run=}"))
    monkeypatch.setattr(setup, "stop_engine", lambda: done.append("stop_engine"))
    assert cli.main(["setup", *argv]) == 0
    assert done == [did]


def test_stopping_the_engine_is_never_a_dry_run(monkeypatch, capsys):
    monkeypatch.setattr(setup, "stop_engine", lambda: pytest.fail("stopped"))
    assert cli.main(["setup", "--stop-engine", "--dry-run"]) == 2
    assert "--dry-run" in capsys.readouterr().err


@pytest.fixture
def images(monkeypatch):
    """A run that needs two images, of which the engine has one."""
    here = Image("quay.io/ceph/ceph:v18.2.7", Origin.BUILT, 3 * 1024**3, "2026-11-24T08:00:00.123456789Z", "abc")
    lacking = Image("localhost/rookery/userspace-csi:1", Origin.MISSING)
    found = {image.reference: image for image in (here, lacking)}
    monkeypatch.setattr(storage, "needed", lambda settings: tuple(found))
    monkeypatch.setattr(resolve, "inspect", found.__getitem__)
    return found


def test_images_are_listed_as_json_with_who_made_them(images, capsys):
    assert cli.main(["images", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(image["reference"], image["origin"], image["size"]) for image in listed] == [
        ("quay.io/ceph/ceph:v18.2.7", "built from packages", 3 * 1024**3),
        ("localhost/rookery/userspace-csi:1", "missing", 0),
    ]


def test_images_are_listed_with_what_can_be_built(images, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main(["images"]) == 0
    built, lacking = [line for line in capsys.readouterr().out.splitlines() if ":" in line]
    assert "built from packages" in built
    assert "3.00 GiB" in built
    assert "missing, can be built" in lacking


def test_images_of_every_scenario_are_there_on_request(images, monkeypatch, tmp_path, capsys):
    folders, asked, of = [], [], []

    def collect(folder, *, versions):
        folders.append(str(folder))
        of.append(versions["cassandra"])
        return [SimpleNamespace(images=those) for those in (("postgres:15",), (), ("cassandra:5", "postgres:15"))]

    def ensure(settings, more):
        asked.append(more)
        return []

    monkeypatch.setattr(collection, "collect", collect)
    monkeypatch.setattr(storage, "ensure", ensure)
    images |= {name: Image(name, Origin.MISSING) for name in ("cassandra:5", "postgres:15")}
    monkeypatch.setattr(storage, "needed", lambda settings: ("ceph:1",))
    images["ceph:1"] = Image("ceph:1", Origin.VENDOR)
    assert cli.main(["images", "--json", "--all"]) == 0
    listed = [image["reference"] for image in json.loads(capsys.readouterr().out)]
    assert listed == ["ceph:1", "cassandra:5", "postgres:15"]
    assert cli.main(["images", "--json"]) == 0
    assert [image["reference"] for image in json.loads(capsys.readouterr().out)] == ["ceph:1"]
    for argv in (["--all", "ensure"], ["ensure", "--all"], ["ensure"]):
        assert cli.main(["images", "--scenarios", "mine", *argv]) == 0
    assert asked == [["ceph:1", "cassandra:5", "postgres:15"]] * 2 + [["ceph:1"]]
    assert folders == ["scenarios", "mine", "mine"]
    assert cli.main(["images", "ensure", "--all", "--cassandra", "4.1.10"]) == 0
    assert of == [Settings().cassandra] * 3 + ["4.1.10"]
    assert cli.main(["images", "ensure", "--cassandra", "4.1.10"]) == 2


def test_images_that_are_not_here_are_not_saved(images, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(engine, "usable", lambda reference: None)
    assert cli.main(["images", "save", str(tmp_path / "images.tar")]) == 3
    assert "hint: `rookery images ensure` first" in capsys.readouterr().err


@pytest.mark.parametrize(("hours", "age"), [(1, "1 h"), (47, "47 h"), (24 * 9, "9 days")])
def test_the_age_of_an_image_is_in_the_unit_one_would_use(hours, age):
    then = datetime.now(timezone.utc) - timedelta(hours=hours)
    assert tables.age(f"{then:%Y-%m-%dT%H:%M:%S}.123456789Z") == age


@pytest.fixture
def machine(monkeypatch):
    """What a sweep finds to remove, and which clusters are kept."""
    machine = SimpleNamespace(left=[], leases=[], everything=None)

    def sweep(*, everything):
        machine.everything = everything
        return machine.left

    monkeypatch.setattr(sweeping, "sweep", sweep)
    monkeypatch.setattr(sweeping.Lease, "all", lambda: machine.leases)
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


@pytest.mark.parametrize(("option", "told"), [([], "removed loop /dev/loop3\n"), (["--json"], '["loop /dev/loop3"]\n')])
def test_a_sweep_that_could_not_remove_all_prints_what_it_did(monkeypatch, capsys, option, told):
    def sweep(*, everything):
        raise SweepIncomplete({"mine": InfrastructureError("container stuck", hint="h")}, ["loop /dev/loop3"])

    monkeypatch.setattr(sweeping, "sweep", sweep)
    assert cli.main(["sweep", *option]) == 3
    printed = capsys.readouterr()
    assert printed.out == told
    assert "mine: container stuck" in printed.err


def test_sweep_reports_that_there_was_nothing(machine, capsys):
    assert cli.main(["sweep"]) == 0
    assert capsys.readouterr().out == "nothing to remove\n"


@pytest.fixture
def saved(monkeypatch, tmp_path):
    """Two snapshots, one of them a day old and one that cannot be used any more; those removed are told."""
    key = {
        "cluster": "rookery",
        "kubernetes": "1.32.0",
        "storage": {"name": "rook", "rook": "1.18.8", "driver": "userspace"},
    }

    def snapshot(name, hours, reason):
        found = Snapshot(
            path=tmp_path / "0123456789ab" / name, key=key, nodes=(), disks=(), subnet="", store="images",
            created=time.time() - hours * 3600, bytes=3 * 1024**3 // 2,
        )  # fmt: skip
        monkeypatch.setitem(reasons, found.path, reason)
        return found

    reasons = {}
    monkeypatch.setattr(Snapshot, "unusable", lambda snapshot: reasons[snapshot.path])
    found = [snapshot("storage-ready", 24, ""), snapshot("old-ready", 24 * 9, "9 days old")]
    monkeypatch.setattr(snapshots, "stored", lambda: found)
    monkeypatch.setattr(snapshots, "prune", lambda *, everything: found if everything else found[1:])
    monkeypatch.setattr(
        stores, "prune", lambda *, everything: ([Path("/stores/a")], []) if everything else ([], [Path("/b")])
    )
    return found


def test_snapshots_are_listed_as_json_with_what_they_are_of(saved, capsys):
    assert cli.main(["snapshots", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(each["name"], each["unusable"], each["bytes"]) for each in listed] == [
        ("storage-ready", "", 3 * 1024**3 // 2),
        ("old-ready", "9 days old", 3 * 1024**3 // 2),
    ]
    assert {each["key"]["storage"]["rook"] for each in listed} == {"1.18.8"}
    assert datetime.fromisoformat(listed[0]["created"]).timestamp() == pytest.approx(saved[0].created, abs=1)


def test_snapshots_are_listed_for_reading(saved, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main(["snapshots"]) == 0
    out = capsys.readouterr().out
    usable, old = [line for line in out.splitlines() if "-ready" in line]
    assert [text for text in ("rook 1.18.8", "1.50 GiB", "24 h", "yes") if text not in usable] == []
    assert [text for text in ("9 days", "9 days old") if text not in old] == []
    assert "2 snapshots, 3.00 GiB" in out


def test_without_snapshots_the_list_is_empty(saved, monkeypatch, capsys):
    saved.clear()
    assert cli.main(["snapshots", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert cli.main(["snapshots"]) == 0
    assert "0 snapshots" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "names", "unpacked"),
    [([], ["old-ready"], []), (["--all"], ["storage-ready", "old-ready"], ["/stores/a"])],
)
def test_what_is_pruned_is_reported(saved, capsys, option, names, unpacked):
    for argv in (["snapshots", "prune", *option, "--json"], ["snapshots", "--json", "prune", *option]):
        assert cli.main(argv) == 0
        printed = json.loads(capsys.readouterr().out)
        assert [each["name"] for each in printed["snapshots"]] == names
        assert (printed["stores"], printed["stores_in_use"]) == (unpacked, [] if unpacked else ["/b"])
    assert cli.main(["snapshots", "prune", *option]) == 0
    *lines, freed = capsys.readouterr().out.splitlines()
    assert lines == [
        *(f"removed 0123456789ab/{name} (1.50 GiB)" for name in names),
        *(f"removed the images unpacked in {store}" for store in unpacked),
        *(["/b stays: a run has its images unpacked there"] if not unpacked else []),
    ]
    assert re.fullmatch(r"[0-9.]+ GiB freed", freed)


def test_pruning_reports_that_there_was_nothing(saved, monkeypatch, capsys):
    monkeypatch.setattr(snapshots, "prune", lambda *, everything: [])
    monkeypatch.setattr(stores, "prune", lambda *, everything: ([], []))
    assert cli.main(["snapshots", "prune"]) == 0
    assert capsys.readouterr().out == "nothing to remove\n"


@pytest.mark.parametrize(
    ("bench", "option"),
    [
        ("bring-up", "--runs"),
        ("restore", "--runs"),
        ("volumes", "--rounds"),
        ("core", "--runs"),
        ("history", "--samples"),
        ("history", "--operations"),
    ],
)
def test_a_bench_of_no_runs_is_bad_input(capsys, bench, option):
    with pytest.raises(SystemExit) as end:
        cli.main(["bench", bench, option, "0"])
    assert end.value.code == 2
    assert f"argument {option}: 0: at least one" in capsys.readouterr().err


@pytest.mark.parametrize(("argv", "told"), [([], "rookery doctor"), (["bench"], "bring-up")])
def test_a_command_line_without_a_command_lists_all_and_is_bad_input(capsys, argv, told):
    assert cli.main(argv) == 2
    printed = capsys.readouterr()
    assert told in printed.err
    assert printed.out == ""


def test_help_imports_no_command():
    asked = "import sys, rookery.cli; rookery.cli.parser().format_help(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, encoding="utf-8", check=True, timeout=60)
    modules = done.stdout.split()
    assert "rookery.cli" in modules
    assert [
        name for name in ("rich", "docker", "kubernetes", "yaml", "pytest", "rookery.settings") if name in modules
    ] == []


def test_options_show_their_defaults(capsys):
    with pytest.raises(SystemExit):
        cli.main(["bench", "save", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    defaults = ("3", "10", "rook", "rookery", "10GiB", "1.18.8", "auto", "results")
    assert [default for default in defaults if f"(default: {default})" not in told] == []


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_every_command(capsys, shell):
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert [name for name in (*cli.COMMANDS, *BENCHES, "ensure", "--fault-seed") if name not in script] == []


def test_bash_takes_the_script_of_completions():
    script = rookery("completion", "bash", stdout=subprocess.PIPE).stdout
    asked = f'{script}\nCOMP_WORDS=(rookery bench re); COMP_CWORD=2; _shtab_rookery; echo "${{COMPREPLY[@]}}"'
    assert (
        subprocess.run(["bash", "-c", asked], capture_output=True, encoding="utf-8", timeout=60).stdout == "restore\n"
    )


def test_what_is_no_terminal_gets_whole_words(monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    hint = f"a hint of {'many words, ' * 30}and /a{'/folder' * 30}"
    tables.show(Table("check", box=None), doctor.table([Check("loop", "missing", "none", hint)]))
    assert hint in capsys.readouterr().out


@pytest.mark.parametrize("columns", ["0", "30"])
def test_a_narrow_table_loses_nothing(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", columns)
    table = Table("options", "why", box=None)
    table.add_row("--kubernetes=1.33.0", "a newer one, in a few words")
    tables.show(table)
    told = capsys.readouterr().out
    options = [line[: told.index("why")].strip() for line in told.splitlines()[1:]]
    assert "".join(options) == "--kubernetes=1.33.0"


def test_the_history_benchmark_begins_at_the_seed_that_is_given(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(history, "history", lambda **options: asked.append(options) or Bench("history"))
    assert cli.main(["bench", "history", "--samples", "2", "--operations", "5", "--fault-seed", "7"]) == 0
    assert asked == [{"samples": 2, "operations": 5, "seed": 7}]


def test_the_goals_of_volumes_stand_beside_their_figures(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    asked = []

    def measure(settings, **options):
        asked.append(options)
        goals = [Goal("sequential write, ext4", of="sequential write, rbd bench", share=0.8)]
        run = {"sequential write, rbd bench": 100.0, "sequential write, ext4": 81.2}
        facts = {
            "cpus": 2,
            "specs_skipped": {"CephFS: GetCapacity": "not supported"},
            "left": ["an image"],
            "failures": [],
        }
        return Bench("volumes", [run], facts, units=dict.fromkeys(run, "MiB/s"), goals=goals)

    monkeypatch.setattr(volumes, "volumes", measure)
    assert cli.main(["bench", "volumes", "--only", "bandwidth", "random", "--rounds", "1"]) == 3
    printed = capsys.readouterr().out
    shown = ("81.2 MiB/s", "80% of sequential write, rbd bench", "81%, met")
    shown += ("cpus: 2\nspecs_skipped: \n  CephFS: GetCapacity: not supported\nleft: \n  an image\nfailures: []\n",)
    assert [text for text in shown if text not in printed] == []
    assert cli.main(["bench", "volumes", "--json"]) == 3
    (goal,) = json.loads(capsys.readouterr().out)["goals"]
    assert (goal["reached"], goal["met"]) == (0.812, True)
    assert asked == [{"rounds": 1, "only": ["bandwidth", "random"]}, {"rounds": 3, "only": ()}]


def test_a_bench_prints_json_and_its_progress_beside_it(monkeypatch, capsys):
    asked = []

    def restore(settings, **options):
        asked.append((settings.rook, options))
        logging.getLogger("rookery.report.results").info("HEALTH_OK in %.1f s", 20)
        return Bench("restore", [{"HEALTH_OK": 20.0}, {"HEALTH_OK": 30.0}], {"state": "cassandra"})

    monkeypatch.setattr(bench_common, "restore", restore)
    argv = ["bench", "restore", "--runs", "2", "--state", "cassandra", "--rook", "v1.17.9"]
    assert cli.main([*argv, "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {
        "schema": "rookery.bench/1",
        "name": "restore",
        "runs": [{"HEALTH_OK": 20.0}, {"HEALTH_OK": 30.0}],
        "facts": {"state": "cassandra"},
        "units": {},
        "goals": [],
        "medians": {"HEALTH_OK": 25.0},
    }
    told = r"\d\d:\d\d:\d\d HEALTH_OK in 20\.0 s\n"
    assert re.fullmatch(told, printed.err)
    assert cli.main(argv) == 0
    printed = capsys.readouterr()
    assert re.match(told, printed.out)
    assert ("25.0" in printed.out, printed.err) == (True, "")
    assert asked == [("1.17.9", {"runs": 2, "state": "cassandra", "verify": False})] * 2


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ({"state": "storage-ready", "differences": []}, 0),
        ({"failed": "InfrastructureError: no room"}, 3),
        ({"differences": ["lib/state"]}, 3),
        ({"failures": [], "left": []}, 0),
        ({"failures": ["data-3: no room"], "left": []}, 3),
        ({"failures": [], "left": ["/dev/loop70"]}, 3),
    ],
)
@pytest.mark.parametrize("option", [[], ["--json"]], ids=["table", "json"])
def test_a_bench_that_did_not_pass_shows_what_it_measured_and_ends_with_3(monkeypatch, capsys, facts, status, option):
    monkeypatch.setattr(bench_common, "restore", lambda *_, **__: Bench("restore", [{"HEALTH_OK": 20.0}], facts))
    assert cli.main(["bench", "restore", "--runs", "1", *option]) == status
    printed = capsys.readouterr().out
    assert [text for text in ("20.0", *map(str, facts)) if text not in printed] == []


def test_an_option_of_images_may_stand_before_the_inner_command(monkeypatch, capsys):
    asked = []

    def ensure(settings, more):
        asked.append(settings)
        return []

    monkeypatch.setattr(storage, "ensure", ensure)
    assert cli.main(["images", "--rook", "v1.17.9", "ensure", "--ceph", "19.2.3"]) == 0
    assert [(settings.rook, settings.ceph) for settings in asked] == [("1.17.9", "19.2.3")]
    assert "0 images" in capsys.readouterr().out


def test_every_command_and_benchmark_is_in_the_docs():
    page = (Path(__file__).parents[2] / "docs/command.md").read_text(encoding="utf-8")
    rows = {word for row in re.findall(r"^\| (.*?) \|", page, re.MULTILINE) for word in re.findall(r"[\w-]+", row)}
    assert {*cli.COMMANDS, *BENCHES} - rows == set()
