"""The benchmark of volumes: who is measured when and where, what counts as a leak; the cluster is faked."""

import json
import time
from contextlib import contextmanager
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest
from fakes import plays_kube, plays_rook
from playing import plays
from rookery import random_operations
from rookery.bench import volumes as volume_bench
from rookery.bench.volumes import (
    BLOCK,
    BOUND_STEP,
    CACHED,
    CALLS_STEP,
    DONE,
    FAILURES,
    FILESYSTEM,
    GOALS,
    LEAKED,
    MOUNTED_STEP,
    RANDOM,
    RBD_BENCH,
    READ,
    SAMPLES,
    STARTED_STEP,
    TARGETS,
    UNITS,
    VIOLATIONS,
    WRITE,
    is_bound,
    is_scheduled,
    is_started,
    specs_step,
    step_of,
)
from rookery.csi.execution import ModelViolation
from rookery.csi.sanity import SanityReport
from rookery.errors import InfrastructureError, UsageError
from rookery.kube import ExecFailed
from rookery.settings import Settings
from rookery.waiting import Condition, NotYet

WORKERS = ["worker", "worker2", "worker3"]


@plays_kube
class Kube:
    """A cluster that does at once what it is asked to; `hangs` names pods that never come up or fail to write."""

    def __init__(self):
        self.objects = {}
        self.did = []
        self.hangs = {}
        self.keeps = set()  # kinds whose objects are never deleted
        self.log = ""  # of the driver

    def apply(self, objects):
        for wanted in objects:
            kind, name = wanted["kind"], wanted["metadata"]["name"]
            self.did.append(f"apply {kind} {name}")
            self.objects[kind, name] = wanted
            if kind == "PersistentVolumeClaim":
                wanted["spec"]["volumeName"], wanted["status"] = f"pvc-{name}", {"phase": "Bound"}
                source = {"volumeAttributes": {"pool": "replicapool", "imageName": f"csi-vol-{name}"}}
                volume = {"metadata": {"name": f"pvc-{name}"}, "spec": {"csi": source}}
                self.objects["PersistentVolume", f"pvc-{name}"] = volume
            if kind == "Pod":
                ready = self.hangs.get(name) != "ready"
                node = wanted["spec"].get("nodeSelector", {}).get("kubernetes.io/hostname", "worker")
                wanted["spec"]["nodeName"] = node
                state = (
                    {"running": {"startedAt": "2026-11-24T08:00:00Z"}} if ready else {"waiting": {"reason": "Stuck"}}
                )
                conditions = [{"type": "Ready", "status": str(ready)}]
                wanted["status"] = {"conditions": conditions, "containerStatuses": [{"name": "main", "state": state}]}

    def get(self, kind, name, *, namespace=None):
        return self.objects.get((kind, name))

    def list(self, kind, *, namespace=None):
        return [found for (each, _), found in self.objects.items() if each == kind]

    def delete(self, kind, name, *, namespace=None, grace_seconds=None):
        self.objects.pop((kind, name), None)
        if kind == "PersistentVolumeClaim" and "PersistentVolume" not in self.keeps:
            self.objects.pop(("PersistentVolume", f"pvc-{name}"), None)

    def heard(self):
        return time.monotonic()

    def exec(self, pod, argv, *, namespace, timeout):
        script = argv[-1]
        self.did.append(f"{self.objects['Pod', pod]['spec']['nodeName']}: {script.split()[0]}")
        if self.hangs.get(pod) == "write":
            raise ExecFailed(script, 1, "Input/output error")
        if not script.startswith("fio"):
            return "checksum  /volume/random\n"
        load = next(
            load for load in (WRITE, READ, RANDOM) if f"--bs={load.block} " in script and kind_of(load) in script
        )
        side = "write" if load.write else "read"
        job = {"error": 0, side: {"io_bytes": load.total, "runtime": 1000}}
        return json.dumps({"jobs": [job]})

    @contextmanager
    def watch(self, kind, name, *, namespace, within):
        def until(condition, *, what):
            condition(self.objects[kind, name])
            return self.heard()

        yield SimpleNamespace(until=until)


def kind_of(load):
    return "--rw=randwrite" if load.random_access else "--rw=write" if load.write else "--rw=read"


@plays_rook
class Rook:
    """Ceph, with the images that `rbd create` made."""

    def __init__(self, kube):
        self.kube = kube
        self.spec = SimpleNamespace(pool="replicapool", pool_size=3, namespace="rook-ceph")
        self.images = []
        self.sizes = []

    def output_of(self, *command, timeout):
        program, verb, *rest = command
        assert program == "rbd"
        self.kube.did.append(f"rbd {verb}")
        if verb == "create":
            self.images.append(rest[0])
            self.sizes.append(rest[1])
        elif verb == "rm":
            self.images.remove(rest[-1])
        elif verb == "bench":
            total, block = (int(rest[rest.index(option) + 1]) for option in ("--io-total", "--io-size"))
            return f"elapsed: 1   ops: {total // block}   ops/sec: {total // block * 2}   bytes/sec: 1 MiB/s\n"
        return ""


@contextmanager
def namespace(kube):
    """With it goes what is in it."""
    yield
    kube.objects.clear()


@pytest.fixture
def kube(monkeypatch):
    kube = Kube()
    cluster = SimpleNamespace(
        kube=kube,
        rook=Rook(kube),
        driver="userspace",
        images=SimpleNamespace(ceph="quay.io/ceph/ceph:v18.2.7"),
        settings=Settings(),
        leaks=lambda: [],
        driver_pods=SimpleNamespace(log=lambda node: kube.log),
        storage_class="rook-ceph-block",
        no_leaked_volumes=Condition("no volumes left", lambda: None, within=0),
        storage=SimpleNamespace(
            leaked_volumes=lambda claims: [
                f"{kind} {name}" for kind, name in kube.objects if kind == "PersistentVolume"
            ]
        ),
        nodes=SimpleNamespace(
            workers=WORKERS, node_names=WORKERS, load_docker_image=lambda image: kube.did.append(f"load {image}")
        ),
    )
    kube.cluster = cluster

    def prepared(state, results):
        kube.did.append(f"state {state.name}")
        return cluster

    session = SimpleNamespace(cluster=prepared, close=lambda: kube.did.append("close"))
    monkeypatch.setattr(volume_bench, "Session", lambda settings: session)
    monkeypatch.setattr(volume_bench, "deployed", lambda workload, cluster, results: namespace(kube))
    monkeypatch.setattr(volume_bench.programs, "fio", lambda: "fio")
    for deadline in ("ALL_READY", "LEAKS_GONE", "TOOLBOX_SECONDS", "LOGGED"):
        monkeypatch.setattr(volume_bench, deadline, 0)
    return kube


@pytest.fixture
def measure(kube, tmp_path):
    def measure(*only, rounds=1):
        return volume_bench.volumes(Settings(results_dir=str(tmp_path)), rounds=rounds, only=only)

    return measure


@plays(random_operations.RandomisedRun)
class RandomisedRun:
    """A sequence of which three operations were done."""

    wrong = ""

    def __init__(self, cluster, driver, results, seed):
        self.seed, self.done = seed, []

    def run(self):
        self.done += ["Create", "Stage", "Delete"]
        if self.wrong:
            raise ModelViolation(self.wrong)


@pytest.fixture
def random_run(monkeypatch):
    """Of the random calls."""
    monkeypatch.setattr(volume_bench, "driver_under_test", lambda cluster, results: namespace(cluster.kube))
    monkeypatch.setattr(volume_bench, "RandomisedRun", RandomisedRun)
    monkeypatch.setattr(RandomisedRun, "wrong", "")
    return RandomisedRun


@pytest.fixture
def sanity(monkeypatch):
    """What csi-sanity reports of each driver under test, by its name and way of use; it runs on no node."""
    reports = {}

    def run(kube, program, under_test, *, namespace):
        how = (under_test.plugin.storage, under_test.access_type)
        return reports.get(how, SanityReport(("works",), {}, {"GetCapacity": "not supported"}))

    monkeypatch.setattr(volume_bench, "run_sanity", run)
    monkeypatch.setattr(volume_bench.programs, "csi_sanity", lambda: "csi-sanity")
    return reports


def test_each_goal_is_of_steps_that_are_measured_and_shares_are_of_the_same_unit(kube, measure, random_run, sanity):
    kube.log = mounting(volume_bench.SAMPLES)
    measured = measure(rounds=1)
    assert measured.passed, measured.facts
    for goal in GOALS:
        assert goal.met(measured.medians) is not None, goal.step
        assert not goal.of or UNITS[goal.of] == UNITS[goal.step]
    assert {goal.step for goal in GOALS if goal.of} == {
        step_of(load, kind) for load in (WRITE, READ, RANDOM) for kind in (FILESYSTEM, BLOCK)
    }


def mounting(samples):
    """The driver's log when the volumes of so many samples were mounted: each by two calls, after one that failed."""
    lines = []
    for number in range(samples):
        image = f"rook-ceph/replicapool/csi-vol-sample-{number}"
        lines += [
            f"2026-11-24 08:00:00,000 W NodeStageVolume {image} 1.00 s UNAVAILABLE: Ceph does not answer",
            f"2026-11-24 08:00:02,000 I NodeStageVolume {image} 0.50 s OK",
            f"2026-11-24 08:00:02,250 I NodePublishVolume {image} 0.25 s OK",
            f"2026-11-24 09:00:00,000 I NodeGetVolumeStats {image} 0.01 s OK",
        ]
    return "\n".join(lines) + "\n"


def test_bandwidth_is_measured_in_rounds_each_in_another_order(kube, measure):
    measured = measure("bandwidth", rounds=3)
    assert [len(run) for run in measured.runs] == [6, 6, 6]
    assert [next(iter(run)) for run in measured.runs] == [step_of(WRITE, target) for target in TARGETS]
    # 64 requests of 4 MiB, in a second by fio, in half of one by rbd bench.
    assert measured.medians[step_of(WRITE, FILESYSTEM)] == 256
    assert measured.medians[step_of(READ, RBD_BENCH)] == 512
    assert "rbd config" not in kube.did
    assert kube.cluster.rook.images == []
    assert kube.cluster.rook.sizes == ["--size=1024M"]  # as a volume
    assert kube.did[-1] == "close"


def test_what_is_read_was_mounted_anew_on_another_node(kube, measure):
    measure("bandwidth", rounds=2)
    where = [did.partition(":")[0] for did in kube.did if did.endswith(": fio")]
    assert len(where) == 8  # two volumes, each written and read twice
    assert all(written != read for written, read in zip(where[::2], where[1::2], strict=True))
    assert len([did for did in kube.did if did.startswith("apply Pod")]) == 8


def test_random_writes_go_to_what_was_written_and_not_into_a_cache(kube, measure):
    measured = measure("random", rounds=2)
    assert set(measured.medians) == {step_of(RANDOM, target) for target in (*TARGETS, CACHED)}
    assert measured.medians[step_of(RANDOM, BLOCK)] == RANDOM.requests
    assert kube.did.index("rbd config") < kube.did.index("rbd bench")
    assert kube.did.count("rbd config") == 1  # the other has its cache
    assert kube.did.count("rbd bench") == 6  # the first fills the image
    assert kube.cluster.rook.sizes == ["--size=256M"] * 2  # as what fio writes to


def test_what_the_programs_printed_is_kept(measure, tmp_path):
    measure("bandwidth", rounds=1)
    names = {path.name for path in tmp_path.glob("*-bench-volumes/volumes/output/*")}
    assert "sequential-write-raw-block-1.txt" in names
    assert "sequential-read-rbd-bench-2.txt" in names
    assert len(names) == 6


def test_a_program_that_fails_ends_the_benchmark_and_the_image_goes(kube, measure):
    kube.hangs["fio-block"] = "write"
    measured = measure("bandwidth")
    assert "Input/output error" in measured.facts["failed"]
    assert not measured.passed
    assert kube.cluster.rook.images == []
    assert step_of(READ, FILESYSTEM) in measured.medians  # what was measured until then


def test_latency_is_between_what_was_heard_and_what_the_driver_has_logged(kube, measure, monkeypatch):
    kube.log = mounting(SAMPLES)
    published = datetime(2026, 11, 24, 8, 0, 2, 250_000, tzinfo=timezone.utc).timestamp()
    # When the pod's container runs, 2.25 s after it was scheduled, of which the last was 1.5 s without the driver.
    monkeypatch.setattr(volume_bench.time, "time", lambda: published + 1.5)
    monkeypatch.setattr(volume_bench.time, "monotonic", lambda: 100.0)
    heard = iter((101.0, 97.75, 100.0) * SAMPLES)
    monkeypatch.setattr(kube, "heard", lambda: next(heard), raising=False)
    measured = measure("latency")
    assert len(measured.runs) == SAMPLES
    assert measured.medians == {BOUND_STEP: 1, MOUNTED_STEP: 0.75, CALLS_STEP: 1.75, STARTED_STEP: 2.25}


def test_a_volume_whose_mounting_the_driver_did_not_log_ends_the_benchmark(kube, measure):
    measured = measure("latency")
    assert "none of which has published it" in measured.facts["failed"]


def test_of_ceph_csi_it_is_not_known_when_a_volume_was_mounted(kube, measure):
    kube.cluster.driver = "ceph-csi"
    assert list(measure("latency").medians) == [BOUND_STEP, STARTED_STEP]


def test_moments_of_claims_and_pods():
    pod = {"spec": {}, "status": {"phase": "Pending"}}
    for condition in (is_scheduled, is_started):
        with pytest.raises(NotYet):
            condition(pod)
    pod["spec"]["nodeName"] = "worker"
    is_scheduled(pod)
    pod["status"]["containerStatuses"] = [{"state": {"waiting": {"reason": "ContainerCreating"}}}]
    with pytest.raises(NotYet, match="ContainerCreating"):
        is_started(pod)
    pod["status"]["containerStatuses"] = [{"state": {"running": {}}}]
    is_started(pod)
    for claim in ({}, {"status": {"phase": "Pending"}}):
        with pytest.raises(NotYet):
            is_bound(claim)
    is_bound({"status": {"phase": "Bound"}})


def test_many_at_once_are_spread_and_gone_in_the_end(kube, measure):
    measured = measure("parallel")
    assert (measured.medians[FAILURES], measured.medians[LEAKED], measured.passed) == (0, 0, True)
    written = [did for did in kube.did if "mktemp" in did]
    assert len(written) == volume_bench.CONCURRENT_VOLUMES
    assert {did.partition(":")[0] for did in written} == set(WORKERS)


def test_of_many_at_once_those_that_fail_are_reported_and_the_others_go_on(kube, measure):
    kube.hangs = {"data-3": "ready", "data-7": "write"}
    measured = measure("parallel")
    assert [text.partition(":")[0] for text in measured.facts["failures"]] == ["data-3", "data-7"]
    assert "Stuck" in measured.facts["failures"][0]
    assert (measured.medians[FAILURES], measured.medians[LEAKED]) == (2, 0)
    assert not measured.passed


def left_as_the_cluster_knows(kube):
    kube.keeps = {"PersistentVolume"}


def left_as_the_driver_knows(kube):
    kube.cluster.leaks = lambda: ["worker: systemd unit: no pod uses the volume"]


@pytest.mark.parametrize(
    ("leave", "count", "said"),
    [
        (left_as_the_cluster_knows, volume_bench.CONCURRENT_VOLUMES, "PersistentVolume pvc-data-0"),
        (left_as_the_driver_knows, 1, "worker: systemd unit"),
    ],
)
def test_what_is_left_of_many_at_once_is_counted_and_named(kube, measure, leave, count, said):
    leave(kube)
    measured = measure("parallel")
    assert measured.medians[LEAKED] == len(measured.facts["left"]) == count
    assert said in measured.facts["left"][0]
    assert not measured.passed


def test_of_ceph_csi_no_leaks_of_the_userspace_driver_are_looked_for(kube, measure):
    def leaks():
        raise InfrastructureError("there is no such driver", hint="h")

    kube.cluster.driver, kube.cluster.leaks = "ceph-csi", leaks
    assert measure("parallel").passed


def test_calls_at_random_are_counted_and_a_violation_ends_the_benchmark(measure, random_run):
    measured = measure("operations")
    assert (measured.medians, measured.passed) == ({DONE: 3, VIOLATIONS: 0}, True)
    random_run.wrong = "2. Stage -> OK, not INTERNAL"
    measured = measure("operations")
    assert (measured.medians, measured.passed) == ({DONE: 3, VIOLATIONS: 1}, False)
    assert measured.facts["violation"] == random_run.wrong


def test_specs_are_counted_for_each_driver_and_way_of_use_and_those_skipped_have_reasons(kube, measure, sanity):
    sanity["rbd", "block"] = SanityReport(("works",) * 2, {"expands": "a size of 0"}, {})
    measured = measure("sanity")
    assert "state cephfs-ready" in kube.did
    assert measured.medians[specs_step("images as raw block", "passed")] == 2
    assert measured.medians[specs_step("images as raw block", "failed")] == 1
    assert measured.medians[specs_step("CephFS", "skipped")] == 1
    assert measured.facts["specs_failed"] == {"images as raw block: expands": "a size of 0"}
    assert measured.facts["specs_skipped"]["CephFS: GetCapacity"] == "not supported"
    assert not measured.passed


def test_what_is_of_the_userspace_drivers_only_is_not_measured_with_others(kube, measure):
    kube.cluster.driver = "ceph-csi"
    measured = measure("operations", "sanity")
    assert measured.runs == []
    assert "ceph-csi serves here" in measured.facts["sanity not measured"]


def test_fewer_workers_than_there_are_copies_are_refused(kube):
    with pytest.raises(UsageError, match="2 workers"):
        volume_bench.volumes(Settings(kind_workers=2))
    assert kube.did == []


def test_results_of_the_benchmark_have_all_of_it(measure, tmp_path):
    measured = measure("bandwidth")
    (report,) = tmp_path.glob("*-bench-volumes/volumes/report.json")
    assert json.loads(report.read_text(encoding="utf-8"))["bench"] == measured.as_dict()
