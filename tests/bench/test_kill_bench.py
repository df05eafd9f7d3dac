"""When a run is killed, what of it counts, and what the benchmark says: with runs, sweeps and the engine faked."""

import json
import os
import signal
import sys
import textwrap
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_engine import FakeEngine
from hypothesis import given, settings
from hypothesis import strategies as st
from playing import plays
from rookery.bench import decoys, leftovers
from rookery.bench import kill as kill_bench
from rookery.bench.kill import PHASES, POLL, SHORTEST, Attempt, Moment, Phase, Swept, learn, moments, strike
from rookery.bench.leftovers import Inventory, survivors
from rookery.errors import InfrastructureError, UsageError
from rookery.machine.run import CommandFailed
from rookery.settings import Settings

NAMES = [phase.name for phase in PHASES]
BY_NAME = dict(zip(NAMES, PHASES, strict=True))
# Of the results of a run: when each phase has ended, in seconds since the run began; and when the run ends.
DEPLOYING = {
    "images ready": 4.0,
    "image store ready": 5.0,
    "kind cluster created": 30.0,
    "HEALTH_OK": 140.0,
    "storage driver Ready": 150.0,
    "storage-ready saved": 158.0,
    "baseline taken": 159.0,
}
RESTORING = {
    "images ready": 4.0,
    "storage-ready restored": 15.0,
    "restored: every pod Ready": 65.0,
    "baseline taken": 66.0,
}
END = 200.0
TIMELINES = {phase.name: {} if phase.setup else RESTORING if not phase.no_snapshots else DEPLOYING for phase in PHASES}
TIMELINES["images"] = DEPLOYING
TOOK = {  # seconds of each phase, of those runs
    "set-up": END,
    "images": 5.0,
    "kind-create": 25.0,
    "deploy": 120.0,
    "save": 8.0,
    "restore": 61.0,
    "scenario": END - 66.0,
}


@plays(kill_bench.Run)
class Timeline:
    """A run by a clock of its own, whose results tell the ends of phases at those seconds."""

    def __init__(self, ends, end=END, *, dies=False):
        self.ends, self.end, self.dies = ends, end, dies
        self.seconds, self.killed_at = 0.0, None

    def now(self):
        return self.seconds

    def pause(self, seconds):
        self.seconds += seconds

    def status(self):
        return 0 if self.seconds >= self.end else None

    def reached(self):
        return [name for name, at in self.ends.items() if at <= self.seconds]

    def kill(self):
        self.killed_at = self.seconds
        return not self.dies


def struck(timeline, phase, part, usual):
    return strike(timeline, Moment(phase, part, False), usual, now=timeline.now, pause=timeline.pause)


@settings(deadline=None)
@given(times=st.integers(1, 60), seed=st.integers(0, 2**31))
def test_every_phase_comes_as_often_as_any_other(times, seed):
    drawn = moments(times, seed)
    number = Counter(moment.phase.name for moment in drawn)
    assert len(drawn) == times
    assert max(number.values()) - min(number.get(name, 0) for name in NAMES) <= 1
    assert all(0 <= moment.part < 1 for moment in drawn)
    assert drawn == moments(times, seed)


def test_seeds_differ_in_phases_and_moments_and_a_choice_is_kept():
    orders = {tuple(moment.phase.name for moment in moments(7, seed)) for seed in range(10)}
    assert len(orders) > 5
    assert [moment.phase for moment in moments(14, 1)[:7]] != [moment.phase for moment in moments(14, 1)[7:]]
    assert len({moment.part for moment in moments(50, 1)}) == 50
    assert {moment.renewed for moment in moments(50, 1)} == {True, False}
    assert {moment.phase.name for moment in moments(9, 1, PHASES[3:5])} == {"deploy", "save"}


@settings(deadline=None, max_examples=50)
@given(name=st.sampled_from(NAMES), part=st.floats(0, 0.99))
def test_a_run_is_killed_within_the_phase_at_the_part_that_was_drawn(name, part):
    phase, timeline = BY_NAME[name], Timeline(TIMELINES[name])
    attempt = struck(timeline, phase, part, TOOK[name])
    begin = timeline.ends[phase.begins] if phase.begins else 0.0
    end = timeline.ends[phase.ends] if phase.ends else END
    assert attempt.killed
    assert timeline.killed_at == pytest.approx(begin + part * TOOK[name], abs=2.5 * POLL)
    assert begin <= timeline.killed_at <= end + 2.5 * POLL
    assert attempt.ended - attempt.began == pytest.approx(timeline.killed_at)


@pytest.mark.parametrize(
    ("name", "ends", "end"),
    [
        ("set-up", {}, 0.5),  # it has less to do than was thought
        ("save", {"images ready": 1.0}, 9.0),  # it failed before that
        ("scenario", DEPLOYING, 160.0),
    ],
)
def test_a_run_that_ends_first_is_not_killed(name, ends, end):
    timeline = Timeline(ends, end)
    attempt = struck(timeline, BY_NAME[name], 0.9, 60.0)
    assert not attempt.killed
    assert timeline.killed_at is None
    assert attempt.ended == pytest.approx(end, abs=2 * POLL)


def test_a_run_that_ends_in_the_instant_of_the_kill_is_not_killed():
    assert not struck(Timeline({}, dies=True), BY_NAME["set-up"], 0.5, 2.0).killed


def test_a_run_that_has_nothing_to_restore_may_save_for_the_next_one():
    timeline = Timeline(DEPLOYING)
    assert not struck(timeline, BY_NAME["restore"], 0.9, 60.0).killed
    assert timeline.seconds >= END


def test_the_kill_shows_what_the_run_had_come_to():
    attempt = struck(Timeline(DEPLOYING), BY_NAME["deploy"], 0.99, 120.0)
    assert list(attempt.seen) == ["images ready", "image store ready", "kind cluster created", "HEALTH_OK"]


def learnt(name, attempt):
    usual = {}
    learn(usual, BY_NAME[name], attempt)
    return usual


def ended(ends, end=END, *, killed=False):
    return Attempt(0.0, end, ends, killed)


@pytest.mark.parametrize(
    ("name", "attempt", "expected"),
    [
        ("set-up", ended({}, 1.5), {"set-up": 1.5}),
        ("set-up", ended({}, 1.5, killed=True), {}),
        ("set-up", ended({}, 0.01), {"set-up": SHORTEST}),
        ("images", ended(DEPLOYING, killed=True), {"images": 5.0}),
        ("save", ended(DEPLOYING, killed=True), {"kind-create": 25.0, "deploy": 120.0, "save": 8.0}),
        ("deploy", ended({"image store ready": 5.0, "kind cluster created": 29.0}, killed=True), {"kind-create": 24.0}),
        ("restore", ended(RESTORING, killed=True), {"restore": 61.0}),
        ("scenario", ended(RESTORING), {"restore": 61.0, "scenario": 134.0}),
        # It deployed, as there was nothing to restore.
        ("restore", ended(DEPLOYING), {"scenario": 41.0}),
        # And restored for its second scenario what it had saved.
        ("restore", ended({**DEPLOYING, "restored: every pod Ready": 190.0}), {"scenario": 41.0}),
    ],
)
def test_what_phases_take_is_learnt_of_those_that_a_run_went_through(name, attempt, expected):
    assert learnt(name, attempt) == expected


def test_phases_follow_those_that_the_project_prints():
    sources = "".join(path.read_text(encoding="utf-8") for path in Path(kill_bench.__file__).parents[1].rglob("*.py"))
    for phase in PHASES:
        for name in filter(None, (phase.begins, phase.ends, phase.unless)):
            own = name.removeprefix("restored: ").removesuffix(" saved")
            assert f'"{own}"' in sources.replace(Path(kill_bench.__file__).read_text(encoding="utf-8"), ""), name


@plays(kill_bench.Run)
class FakeRun:
    """A run of which `bench` says how it ends; it has made what it makes by then."""

    def __init__(self, bench, argv, environment, folder):
        self.argv, self.environment, self.folder, self.session = argv, environment, folder, 1 << 30
        self.bench, self.killed = bench, False
        bench.runs.append(self)
        self.ends = next(bench.ends, "killed")
        bench.makes(self)

    def status(self):
        return {"killed": None, "interrupted": None}.get(self.ends, self.ends)

    def reached(self):
        if self.ends == "interrupted":
            raise KeyboardInterrupt
        return list(DEPLOYING if "--no-snapshots" in self.argv else RESTORING)

    def kill(self):
        self.killed = True
        self.bench.did.append("kill")
        return True


@pytest.fixture
def bench(monkeypatch, tmp_path, logged):
    """A machine of an engine alone, on which runs are killed at once, and what `sweeps` do is chosen."""
    engine = FakeEngine()
    bench = SimpleNamespace(
        engine=engine, runs=[], ends=iter(()), did=[], sweeps=iter(()), makes=lambda run: None, doctor=0
    )

    def sweep(argv, *, timeout, env):
        bench.did.append("sweep")
        bench.swept_in = env
        sweeping = next(bench.sweeps, lambda: [])
        return SimpleNamespace(stdout=json.dumps(sweeping()))

    for module in (decoys, leftovers, kill_bench):
        monkeypatch.setattr(module, "docker_output", engine.output)
    monkeypatch.setattr(decoys, "docker", engine)
    monkeypatch.setattr(leftovers, "output", lambda argv, **_: "[]")
    monkeypatch.setattr(leftovers, "_MOUNTS", SimpleNamespace(read_text=lambda encoding: ""))
    monkeypatch.setattr(leftovers, "_DEVICES", ())
    monkeypatch.setattr(leftovers.loop, "attached", dict)
    monkeypatch.setattr(kill_bench, "SETTLED", 0.0)
    monkeypatch.setattr(kill_bench, "OUTLIVED", 0.0)
    monkeypatch.setattr(decoys.LoopDevice, "make", lambda self: None)
    monkeypatch.setattr(decoys.LoopDevice, "state", lambda self: {})
    monkeypatch.setattr(kill_bench, "_Process", lambda *args: FakeRun(bench, *args))
    monkeypatch.setattr(kill_bench, "run", sweep)
    monkeypatch.setattr(kill_bench.capacity, "require_root", lambda: None)
    monkeypatch.setattr(kill_bench.doctor, "diagnose", lambda: bench.doctor)
    monkeypatch.setattr(kill_bench.doctor, "status", lambda checks: checks)
    monkeypatch.setattr(kill_bench, "moments", lambda *drawn: [replace(each, part=0.0) for each in moments(*drawn)])
    monkeypatch.setattr(kill_bench.tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "cache/rookery/bin").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    Path("scenario.py").touch()
    bench.kill = lambda **options: kill_bench.kill(
        Settings(results_dir=str(tmp_path / "results"), fault_seed=3),
        **{"times": 1, "only": ["deploy"], "scenarios": ["scenario.py::test"], **options},
    )
    bench.logged = logged
    return bench


def nothing_of_it(tmp_path):
    """Whether nothing is left of decoys and of the benchmark's own folders."""
    own = [*(tmp_path / "tmp").iterdir(), *(tmp_path / "cache").glob("rookery-kill-*")]
    return own + [path for path in (tmp_path / "state").rglob("*") if path.name != "clusters"] == []


def test_a_kill_after_which_nothing_is_left_passes(bench, tmp_path):
    measured = bench.kill(times=3)
    assert (measured.exit_status, measured.passed) == (0, True)
    assert measured.facts == {"seed": 3, "kills": 3, "left": [], "changed": []}
    assert [run.killed for run in bench.runs] == [True] * 3
    assert "round 3/3: deploy: killed 0.0 s after the run began" in bench.logged.messages[-1]
    assert bench.logged.messages[-1].endswith("left: nothing; decoys: unchanged")
    assert bench.engine.names() == bench.engine.images == []
    assert nothing_of_it(tmp_path)
    (noted,) = (tmp_path / "results").glob("*-bench-kill/kill.json")
    assert json.loads(noted.read_text(encoding="utf-8"))["facts"]["kills"] == 3


def test_what_is_run_is_what_a_user_runs(bench, monkeypatch):
    for name in ("ROOKERY_KEEP_CLUSTER", "ROOKERY_SHARD"):
        monkeypatch.setenv(name, "1")
    bench.kill(times=len(PHASES), only=(), options=["--rook=1.17.9"])
    assert len(bench.runs) == len(PHASES)
    setups = [run for run in bench.runs if run.argv[-1] == "setup"]
    pytests = [run for run in bench.runs if "pytest" in run.argv]
    assert (len(setups), len(pytests)) == (1, 6)
    assert setups[0].argv == [sys.executable, "-m", "rookery", "setup"]
    for run in pytests:
        assert run.argv[1:5] == ["-m", "pytest", "scenario.py::test", "--rook=1.17.9"]
        assert f"--results-dir={run.folder}" in run.argv
        assert [each for each in run.argv if each.startswith("--kubeconfig=")]
    assert sum("--no-snapshots" in run.argv for run in pytests) == 3
    assert sum("rookery-kill-" in run.environment["XDG_CACHE_HOME"] for run in pytests) == 1
    assert not any(name in run.environment for run in bench.runs for name in ("ROOKERY_KEEP_CLUSTER", "ROOKERY_SHARD"))
    assert len({run.folder for run in bench.runs}) == len(PHASES)


def test_a_run_that_is_to_unpack_images_has_all_of_the_cache_but_those(bench, tmp_path):
    for name in ("stores/a", "images/b", "snapshots/c"):
        (tmp_path / "cache/rookery" / name).mkdir(parents=True)
    found = []
    bench.makes = lambda run: found.append(sorted(os.listdir(Path(run.environment["XDG_CACHE_HOME"], "rookery"))))
    assert bench.kill(only=["images"]).passed
    assert found == [["bin"]]
    assert "rookery-kill-" in bench.swept_in["XDG_CACHE_HOME"]
    assert sorted(os.listdir(tmp_path / "cache/rookery")) == ["bin", "images", "snapshots", "stores"]
    assert nothing_of_it(tmp_path)


LEAVES = {
    "a container": (lambda b, run: b.engine.made("rookery-worker"), "container rookery-worker"),
    "a file of the state folder": (
        lambda b, run: touched(Path(os.environ["ROOKERY_STATE_DIR"], "leases/rookery.json")),
        "leases/rookery.json",
    ),
    "what was in the making": (
        lambda b, run: touched(Path(run.environment["XDG_CACHE_HOME"], "rookery/stores/a.partial/x")),
        "stores/a.partial",
    ),
    "what was in the making in the user's own cache": (
        lambda b, run: touched(Path(os.environ["XDG_CACHE_HOME"], "rookery/bin/kind.partial/x")),
        "bin/kind.partial",
    ),
    "a temporary file": (lambda b, run: touched(Path(run.environment["TMPDIR"], "rookery-build-1/x")), "build-1"),
}


def touched(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


@pytest.mark.parametrize("what", LEAVES)
@pytest.mark.parametrize("phase", ["deploy", "images"])
def test_what_is_left_is_reported_and_is_not_the_end(bench, tmp_path, what, phase):
    leave, named = LEAVES[what]
    made = iter([True, False])
    bench.makes = lambda run: leave(bench, run) if next(made) else None
    measured = bench.kill(times=2, only=[phase])
    assert measured.exit_status == 1
    assert measured.facts["kills"] == 2
    told = [line for line in measured.facts["left"] if named in line]
    assert told
    assert all(line.startswith(f"round 1, {phase}: ") for line in measured.facts["left"])
    assert [bool(each.left) for each in measured.rounds] == [True, False]
    assert measured.rounds[0].still_left == measured.rounds[0].left
    assert named in str(measured.rounds[0]).partition("after another sweep: ")[2]
    assert bench.did.count("sweep") == 1 + 3  # before all, and a second one after the first kill
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_the_sweep_removes_is_not_left(bench):
    bench.makes = lambda run: bench.engine.made("rookery-worker", ours="yes")

    def sweep():
        (ours,) = [i for i, c in bench.engine.containers.items() if c["Config"]["Labels"].get("ours")]
        bench.engine("rm", ours)
        return ["cluster rookery"]

    bench.sweeps = iter([lambda: [], sweep])
    measured = bench.kill()
    assert measured.exit_status == 0
    assert measured.rounds[0].removed == ["cluster rookery"]


def test_what_the_run_had_started_and_does_not_end_is_left(bench, monkeypatch):
    process = SimpleNamespace(pid=4711, end=lambda sign, within: living.clear())
    living = [(process, "kind create cluster --name=rookery")]
    monkeypatch.setattr(kill_bench, "survivors", lambda session: list(living))
    measured = bench.kill()
    assert measured.facts["left"] == ["round 1, deploy: process 4711 (kind create cluster --name=rookery)"]
    assert measured.rounds[0].still_left == []
    assert living == []


def test_only_root_can_do_it(bench, monkeypatch):
    def refuse():
        raise InfrastructureError("a run needs root", hint="h")

    monkeypatch.setattr(kill_bench.capacity, "require_root", refuse)
    with pytest.raises(InfrastructureError, match="needs root"):
        bench.kill()
    assert bench.did == []


def test_a_sweep_that_fails_has_left_something(bench):
    def failing():
        raise CommandFailed(["rookery", "sweep"], 3, "rookery: not everything could be removed")

    bench.sweeps = iter([lambda: [], failing])
    measured = bench.kill()
    assert measured.exit_status == 1
    assert "not everything could be removed" in measured.facts["left"][0]
    assert measured.rounds[0].still_left == []
    assert "after another sweep: nothing" in str(measured.rounds[0])


def test_a_machine_that_cannot_be_swept_is_no_place_for_kills(bench):
    def failing():
        raise CommandFailed(["rookery", "sweep"], 3, "rookery: not everything could be removed")

    bench.sweeps = iter([failing])
    with pytest.raises(InfrastructureError, match="not everything could be removed"):
        bench.kill()
    assert bench.runs == []


def test_a_sweep_that_removes_a_cluster_of_the_same_name_has_touched_what_is_not_its_own(bench):
    def by_name():
        own = [i for i, c in bench.engine.containers.items() if labels(c).get("io.x-k8s.kind.cluster") == "rookery"]
        assert len(own) == 2
        bench.engine("rm", *own)
        return ["cluster rookery"]

    bench.sweeps = iter([lambda: [], by_name])
    measured = bench.kill()
    assert measured.exit_status == 1
    assert any("container rookery-control-plane Id: gone" in line for line in measured.facts["changed"])
    assert measured.facts["left"] == []
    assert bench.engine.names() == []


def labels(container):
    return container["Config"]["Labels"]


def test_a_cluster_of_the_same_name_is_there_only_after_the_kill(bench):
    at_run, at_sweep = [], []
    bench.makes = lambda run: at_run.append(bench.engine.names())
    bench.sweeps = iter([lambda: [], lambda: at_sweep.append(bench.engine.names()) or []])
    bench.kill()
    assert set(at_sweep[0]) - set(at_run[0]) == {"rookery-control-plane", "rookery-worker"}


@pytest.mark.parametrize("renewed", [False, True])
def test_the_kubeconfig_is_to_be_what_it_was_or_what_the_user_made_of_it_since(bench, monkeypatch, renewed):
    monkeypatch.setattr(kill_bench, "moments", lambda *_: [Moment(BY_NAME["deploy"], 0.0, renewed)] * 2)
    kubeconfigs, found = [], []

    def make(run):
        (path,) = [Path(each.partition("=")[2]) for each in run.argv if each.startswith("--kubeconfig=")]
        kubeconfigs.append(path)
        found.append(path.read_text(encoding="utf-8"))
        path.write_text(
            "clusters: [{name: kind-rookery}]\n", encoding="utf-8"
        )  # as a run has it while its cluster is there

    def sweep():
        found.append(kubeconfigs[-1].read_text(encoding="utf-8"))
        if not renewed:
            kubeconfigs[-1].write_text(decoys.kubeconfig_text(), encoding="utf-8")
        return []

    def damaging():
        kubeconfigs[-1].write_text("clusters: []\n", encoding="utf-8")
        return []

    bench.makes, bench.sweeps = make, iter([lambda: [], sweep, damaging])
    measured = bench.kill(times=2)
    assert [bool(each.changed) for each in measured.rounds] == [False, True]
    assert found[0] == found[2] == decoys.kubeconfig_text()
    as_the_run_left_it = "clusters: [{name: kind-rookery}]\n"
    assert found[1] == (decoys.kubeconfig_text("rookery") if renewed else as_the_run_left_it)
    assert all(line.startswith("round 2, deploy: ") for line in measured.facts["changed"])


def test_a_decoy_that_was_changed_is_one_again_in_the_next_round(bench, tmp_path):
    def damage():
        (notes,) = (tmp_path / "state/clusters").glob("rookery-*/notes.txt")
        notes.write_text("mark_dirty\n", encoding="utf-8")
        return []

    bench.sweeps = iter([lambda: [], damage])
    measured = bench.kill(times=2)
    assert [len(each.changed) for each in measured.rounds] == [1, 0]
    assert measured.exit_status == 1
    assert measured.facts["left"] == []


def test_a_run_that_ends_first_does_not_count_and_is_repeated(bench):
    bench.ends = iter([0, 1, "killed"])
    measured = bench.kill()
    assert measured.exit_status == 0
    assert [each.attempts for each in measured.rounds] == [3]
    assert [run.killed for run in bench.runs] == [True] * 3  # to be sure, in the end
    assert len(bench.logged.messages) == 4
    assert bench.logged.messages[2] == "round 1: the run ended with 1 before its moment in deploy"
    assert bench.did.count("sweep") == 2


def test_what_a_run_that_ended_by_itself_did_to_decoys_is_reported_as_well(bench, tmp_path):
    damages = iter([True, False])

    def make(run):
        if next(damages):
            (notes,) = (tmp_path / "state/clusters").glob("rookery-*/notes.txt")
            notes.unlink()

    bench.ends, bench.makes = iter([0, "killed"]), make
    measured = bench.kill()
    assert measured.exit_status == 1
    assert "\n".join(measured.facts["changed"]).count("notes.txt: gone") == 1


def test_runs_that_always_end_first_end_the_benchmark(bench, tmp_path):
    bench.ends = iter(["killed", 3, 3, 3])
    measured = bench.kill(times=5)
    assert measured.exit_status == 3
    assert measured.facts["kills"] == 1
    assert "3 runs ended before they could be killed in deploy" in measured.facts["failed"]
    assert "output.txt" in measured.facts["failed"]
    assert nothing_of_it(tmp_path)


def test_what_was_left_outweighs_what_failed(bench):
    made = iter([True])
    bench.makes = lambda run: bench.engine.made("rookery-worker") if next(made, False) else None
    bench.ends = iter(["killed", 3, 3, 3])
    measured = bench.kill(times=2)
    assert measured.exit_status == 1
    assert "failed" in measured.facts


def test_an_engine_that_is_gone_is_no_finding(bench, monkeypatch, tmp_path):
    def silent(*_):
        raise InfrastructureError("no docker engine answers", hint="h")

    monkeypatch.setattr(Inventory, "taken", silent)
    measured = bench.kill()
    assert measured.exit_status == 3
    assert measured.facts["failed"] == "InfrastructureError: no docker engine answers\n  hint: h"
    assert nothing_of_it(tmp_path)


def test_an_interrupt_ends_the_run_and_takes_the_decoys_away(bench, tmp_path):
    bench.ends = iter(["interrupted"])
    with pytest.raises(KeyboardInterrupt):
        bench.kill(times=3)
    assert bench.did == ["sweep", "kill", "sweep", "kill"]  # dead before it is swept
    assert bench.engine.names() == bench.engine.images == []
    assert nothing_of_it(tmp_path)


def test_sigterm_does_as_well(bench, tmp_path):
    bench.makes = lambda run: os.kill(os.getpid(), signal.SIGTERM)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        bench.kill()
    assert signal.getsignal(signal.SIGTERM) is before
    assert bench.engine.names() == bench.engine.images == []
    assert nothing_of_it(tmp_path)


@pytest.mark.parametrize("command", ["import", "create"])
def test_decoys_that_cannot_be_made_begin_nothing(bench, tmp_path, command):
    bench.engine.fails.add(command)
    measured = bench.kill()
    assert measured.exit_status == 3
    assert bench.runs == []
    assert bench.engine.names() == bench.engine.images == []
    assert nothing_of_it(tmp_path)


def test_a_name_that_is_taken_is_refused_before_anything_is_made(bench):
    foreign = bench.engine.made("web", **{"io.x-k8s.kind.cluster": "rookery"})
    with pytest.raises(UsageError, match="there is a kind cluster rookery already: web"):
        bench.kill()
    assert list(bench.engine.containers) == [foreign]
    assert bench.engine.images == []


def test_scenarios_that_are_not_there_are_refused(bench):
    with pytest.raises(UsageError, match=r"nowhere\.py::test: no such scenario"):
        bench.kill(scenarios=["nowhere.py::test"])
    assert bench.did == []


def test_a_machine_that_lacks_something_is_not_set_up_unasked(bench):
    bench.doctor = 2
    with pytest.raises(InfrastructureError, match="lacks what a run needs"):
        bench.kill()
    assert bench.did == bench.runs == []


@pytest.fixture
def program(tmp_path):
    """A run that tells of a phase, starts a process, and waits."""
    text = """
        import json, pathlib, subprocess, sys
        folder = pathlib.Path(sys.argv[1]) / "20261128T000000Z" / "a"
        child = subprocess.Popen(["sleep", "60"])
        folder.mkdir(parents=True)
        (folder / ".draft").write_text(json.dumps({"phases": [{"name": "images ready"}]}))
        (folder / ".draft").rename(folder / "timings.json")
        child.wait()
    """
    (tmp_path / "run").mkdir()
    return [sys.executable, "-c", textwrap.dedent(text), str(tmp_path / "run")]


def test_only_the_run_itself_is_killed_and_what_it_had_started_ends_later(monkeypatch, program, tmp_path):
    monkeypatch.setattr(kill_bench, "OUTLIVED", 0.0)
    phase = Phase("begun", 1.0, begins="images ready")
    with kill_bench._running(program, dict(os.environ), tmp_path / "run") as running:
        attempt = strike(running, Moment(phase, 0.0, False), 1.0)
        assert attempt.killed
        assert list(attempt.seen) == ["images ready"]
        assert running.status() == -signal.SIGKILL
        (line,) = kill_bench._outlived(running.session)
        assert line.endswith("(sleep 60)")
    assert survivors(running.session) == []


def test_a_run_that_has_ended_by_itself_was_not_killed(tmp_path):
    with kill_bench._running([sys.executable, "-c", "print('done')"], dict(os.environ), tmp_path) as running:
        assert running._process.wait(10) == 0
        assert not running.kill()
    assert (tmp_path / "output.txt").read_text(encoding="utf-8") == "done\n"


def test_an_interrupt_ends_all_of_a_real_run(monkeypatch, program, tmp_path):
    swept = []
    monkeypatch.setattr(kill_bench, "_swept", lambda environment: swept.append(environment["OF"]) or Swept(0.0, []))

    def interrupted():
        with kill_bench._running(program, {**os.environ, "OF": "it"}, tmp_path / "run") as running:
            sessions.append(running.session)
            raise KeyboardInterrupt

    sessions = []
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert survivors(sessions[0]) == []
    assert swept == ["it"]


def test_torn_results_have_no_phase(tmp_path):
    with kill_bench._running([sys.executable, "-c", ""], dict(os.environ), tmp_path) as running:
        for name, text in (("a", "{"), ("b", "[]"), ("c", '{"phases": [{"name": "images ready"}]}'), ("d", "{}")):
            (tmp_path / "run" / name).mkdir(parents=True)
            (tmp_path / "run" / name / "timings.json").write_text(text, encoding="utf-8")
        assert running.reached() == ["images ready"]
