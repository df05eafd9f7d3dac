"""A storage cluster's place among others on this machine, its key, and what it may be asked to restore."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from playing import plays
from rookery.cluster.hanging import Hanging
from rookery.cluster.topology import Topology
from rookery.errors import DeadlineExceeded, InfrastructureError, UsageError
from rookery.faults import DaemonKill
from rookery.history.recorder import Recorder
from rookery.images.catalogue import Catalogue
from rookery.kube.conditions import unix_time
from rookery.local.system import LocalVolumes
from rookery.machine import locks
from rookery.machine.leases import Lease, SweepIncomplete
from rookery.machine.locks import machine_lock
from rookery.rook import filesystems as rook_filesystems
from rookery.rook import system as rook_system
from rookery.rook.status import Osd
from rookery.rook.system import RookSystem
from rookery.settings import Settings
from rookery.storage import cluster as storage
from rookery.storage import log_bundle
from rookery.storage import saved as saved_module
from rookery.storage.baseline import Fingerprint, Item
from rookery.storage.cluster import StorageCluster
from rookery.storage.system import DONE, StorageSystem
from rookery.waiting import Condition, NotYet, condition

CEPH = "quay.io/ceph/ceph:v18.2.7"
KIND_CONFIGS = Path(__file__).parents[2] / "kind-configs"

pytestmark = pytest.mark.usefixtures("images_there")


def test_the_nodes_are_those_of_the_kind_configuration_by_its_name():
    assert StorageCluster(Settings()).topology.workers == 3
    assert StorageCluster(Settings(kind_workers=2)).topology.workers == 2


@pytest.mark.parametrize(("storage", "there"), [("rook", True), ("local", False)])
def test_a_fault_asks_whether_rook_is_there_before_it_asks_for_it(storage, there):
    cluster = StorageCluster(Settings(storage=storage))
    assert cluster.has_rook == there
    assert (DaemonKill.available(cluster) is None) == there


def test_what_hangs_is_a_fault_of_the_storage_only_where_it_hangs_on_a_volume(cluster, results, monkeypatch):
    volume = Hanging("c-worker", "7", "java", "folio_wait", "/data")
    other = Hanging("c-worker", "8", "nfsrahead", "rtnl_lock", "")
    found = []
    cluster.kind, cluster.results = SimpleNamespace(node_names=["c-worker"]), results
    monkeypatch.setattr(storage, "volume_loops", lambda names: {270: 1})
    monkeypatch.setattr(storage, "hanging", lambda names, devices: found if devices == ["/dev/loop270"] else None)
    cluster.nothing_hangs_on_volumes.now()
    found += [other, volume]
    with pytest.raises(NotYet, match=r"^c-worker: 7 java \(folio_wait\) on /data$"):
        cluster.nothing_hangs_on_volumes.now()
    found.remove(volume)
    cluster.nothing_hangs_on_volumes.now()
    assert results.noted("hangs_elsewhere") == ["c-worker: 8 nfsrahead (rtnl_lock)"]


def test_a_name_under_which_nothing_is_kept_is_bad_input(cluster, monkeypatch):
    monkeypatch.setattr(cluster.saved, "find", lambda name, **_: None)
    with pytest.raises(UsageError, match="no snapshot mine") as caught:
        cluster.restore("mine", SimpleNamespace())
    assert caught.value.hint == "rookery snapshots"
    with pytest.raises(UsageError, match="no snapshot mine"):
        cluster.saved.kept("mine")


def test_a_snapshot_that_is_kept_is_found_by_its_name(cluster, monkeypatch):
    saved = object()
    monkeypatch.setattr(cluster.saved, "find", lambda name, **_: {"mine": saved}.get(name))
    assert cluster.saved.kept("mine") is saved


def test_a_cluster_that_nobody_has_cannot_be_saved(cluster):
    with pytest.raises(InfrastructureError, match="no results folder to write to"):
        cluster.save("mine")


@pytest.fixture
def saving(cluster, results, monkeypatch):
    """A cluster of that scenario with its snapshots in `stored`; `did` has what was done to it."""
    saving = SimpleNamespace(cluster=cluster, did=[], stored={}, recorded=[])
    lease = SimpleNamespace(add=lambda kind, name: saving.recorded.append((kind, name)))

    def save(key, name, facts=None):
        saving.did.append(f"save {name}")
        saving.stored[name] = SimpleNamespace(name=name, facts=facts, remove=lambda: saving.stored.pop(name, None))
        return saving.stored[name]

    def restore(snapshot, results=None):
        saving.did.append(f"restore {snapshot.name}")

    monkeypatch.setattr(cluster.saved, "find", lambda name, **_: saving.stored.get(name))
    monkeypatch.setattr(cluster.saved, "key", lambda *, storage: SimpleNamespace(folder=Path("c-1")))
    monkeypatch.setattr(cluster, "restore", restore)
    monkeypatch.setattr(cluster, "_require_all_healthy", lambda: saving.did.append("all healthy"))
    cluster.kind = SimpleNamespace(save=save, delete=lambda: saving.did.append("delete"), node_names=[], lease=lease)
    cluster.results, cluster.ready = results, True
    return saving


def test_a_cluster_goes_on_after_it_was_saved(saving, results):
    assert saving.cluster.saved.save("nodes-ready", results) is saving.stored["nodes-ready"]
    assert saving.did == ["save nodes-ready", "all healthy"]
    assert saving.cluster.ready


def patient(condition, *, what, within, every=0.2, times_in_a_row=1):
    """`wait_for` without its sleeps: what does not hold at once does not in time."""
    try:
        return [condition() for _ in range(times_in_a_row)][-1]
    except NotYet as last:
        raise DeadlineExceeded(what, within, str(last)) from last


@pytest.fixture
def with_rook(saving, monkeypatch):
    """The same with Rook; `pods` and `osds` are what runs, and may be changed."""
    saving.pods = [pod_since("2026-11-24T10:00:05Z")]
    saving.osds = (Osd(0, "u", up=True, in_cluster=True, up_from=17),)
    saving.cluster.kind.kube = SimpleNamespace(list=lambda kind: saving.pods)
    system = saving.cluster.storage
    osds_up = Condition("OSDs up", lambda: SimpleNamespace(osds=saving.osds), within=0)
    system._nodes, system._rook = saving.cluster.kind, SimpleNamespace(osds_up=osds_up)
    monkeypatch.setattr(saving.cluster, "baseline", lambda: {"osdmap_epoch": 18})
    monkeypatch.setattr("rookery.waiting.wait_for", patient)
    return saving


def pod_since(started, name="rook-ceph-mon-a"):
    status = {"containerStatuses": [{"name": "mon", "state": {"running": {"startedAt": started}}}]}
    return {"metadata": {"namespace": "rook-ceph", "name": name}, "status": status}


def test_what_a_recovery_is_compared_with_is_saved_too(with_rook, results):
    with_rook.cluster.saved.save("storage-ready", results)
    assert with_rook.stored["storage-ready"].facts["baseline"]["osdmap_epoch"] == 18
    assert with_rook.did == ["save storage-ready", *["all healthy"] * saved_module.CHECKS_IN_A_ROW]


@pytest.mark.parametrize("harm", ["a container was started anew", "a container is gone", "an OSD was marked down"])
def test_a_cluster_that_did_not_take_it_well_is_restored(with_rook, results, harm, monkeypatch, logged):
    save = with_rook.cluster.kind.save

    def harmful(*args):
        snapshot = save(*args)
        if harm == "an OSD was marked down":
            with_rook.osds = (replace(with_rook.osds[0], up_from=19),)
        else:
            with_rook.pods = [pod_since("2026-11-24T10:03:00Z")] if "anew" in harm else []
        return snapshot

    with_rook.cluster.kind.save = harmful
    with_rook.cluster.saved.save("storage-ready", results)
    assert with_rook.did == ["save storage-ready", "restore storage-ready"]
    assert "osd.0" in logged.messages[0] if "OSD" in harm else "rook-ceph-mon-a/mon" in logged.messages[0]


def test_what_was_saved_of_a_cluster_that_does_not_come_back_goes(with_rook, results, monkeypatch):
    def restore(snapshot, results=None):
        raise DeadlineExceeded("OSDs up from new boots", 180, "osd.0 is down")

    monkeypatch.setattr(with_rook.cluster, "restore", restore)
    monkeypatch.setattr(with_rook.cluster, "_require_all_healthy", not_yet)
    with pytest.raises(DeadlineExceeded):
        with_rook.cluster.saved.save("storage-ready", results)
    assert with_rook.stored == {}


def not_yet():
    raise NotYet("HEALTH_WARN")


def test_what_came_meanwhile_is_no_harm(with_rook, results, monkeypatch):
    save = with_rook.cluster.kind.save

    def later(*args):
        with_rook.pods.append(pod_since("2026-11-24T10:03:00Z", "a-job"))
        return save(*args)

    with_rook.cluster.kind.save = later
    with_rook.cluster.saved.save("storage-ready", results)
    assert with_rook.did[-1] == "all healthy"


def test_what_a_scenario_saved_is_found_before_a_state_of_that_name_and_goes_with_the_cluster(saving, results):
    state = saving.cluster.saved.save("storage-ready", results)
    assert saving.cluster.saved.kept("storage-ready") is state
    for name in ("storage-ready", "before-upgrade", "before-upgrade"):
        saving.cluster.save(name)
    assert set(saving.stored) == {"storage-ready", "scenario-storage-ready", "scenario-before-upgrade"}
    assert saving.cluster.saved.kept("storage-ready") is saving.stored["scenario-storage-ready"]
    assert saving.cluster.saved.kept("before-upgrade") is saving.stored["scenario-before-upgrade"]
    assert set(saving.recorded) == {("snapshot", Path("c-1") / name) for name in saving.stored if name != state.name}
    saving.cluster.delete()
    assert saving.did[-1] == "delete"
    assert saving.cluster.saved.kept("storage-ready") is state


def test_what_scenarios_saved_is_gone_with_a_cluster_whose_nodes_cannot_be_restored(saving, results):
    state = saving.cluster.saved.save("storage-ready", results)
    saving.cluster.save("storage-ready")

    def restore(snapshot):
        del saving.stored["scenario-storage-ready"]  # with the lease that it was in
        raise InfrastructureError("no room", hint="h")

    saving.cluster.kind.restore = restore
    with pytest.raises(InfrastructureError, match="no room"):
        saving.cluster.saved.restore(state, results)
    assert saving.cluster.saved.kept("storage-ready") is state


def test_what_a_scenario_saves_is_on_record_before_it_is_there(saving):
    """So that it goes though the run is killed in the middle of it."""

    def killed(key, name, facts=None):
        raise InfrastructureError(f"nothing saved, {saving.recorded} on record", hint="h")

    saving.cluster.kind.save = killed
    with pytest.raises(InfrastructureError, match=r"'c-1/scenario-before-upgrade'\)\)\] on record"):
        saving.cluster.save("before-upgrade")


def test_a_name_that_a_scenario_may_not_use_is_refused_while_the_nodes_run(saving):
    for name in ("", "../storage-ready"):
        with pytest.raises(UsageError, match="invalid snapshot name"):
            saving.cluster.save(name)
    assert saving.did == []


@pytest.mark.parametrize("end", [StorageCluster.delete, lambda cluster: cluster.create_nodes(cluster.results)])
def test_a_new_cluster_has_nothing_of_the_one_before(saving, end):
    cluster = saving.cluster
    cluster.storage._nodes, cluster.started = object(), 4711.0
    cluster.kind.create = lambda: saving.did.append(f"create, ready: {cluster.ready}")
    end(cluster)
    assert (cluster.storage.deployed, cluster.ready, cluster.started) == (False, False, 0.0)
    assert saving.did in (["delete"], ["create, ready: False"])


@pytest.fixture
def images_missing(monkeypatch):
    """A machine on which `prepare` ends where it asks for images."""

    def ensure(settings, references):
        raise InfrastructureError("no registry answers", hint="h")

    for name in ("require_root", "require_headroom"):
        monkeypatch.setattr(storage.capacity, name, lambda: None)
    monkeypatch.setattr(storage.host_engine, "require_fit", lambda: None)
    monkeypatch.setattr(storage, "sweep", list)
    monkeypatch.setattr(storage, "ensure_name_is_ours", lambda name: None)
    monkeypatch.setattr(storage, "kind_binary", lambda path: Path("/bin/kind"))
    monkeypatch.setattr(storage.images, "ensure", ensure)
    monkeypatch.setattr(RookSystem, "catalogue", Catalogue(operator="rook", ceph=CEPH, driver=()))


def test_an_engine_that_nodes_cannot_live_in_is_reported_before_anything_is_done(
    new_cluster, images_missing, results, monkeypatch
):
    def unfit():
        raise InfrastructureError("rootless", hint="h")

    monkeypatch.setattr(storage.host_engine, "require_fit", unfit)
    monkeypatch.setattr(storage, "sweep", lambda **_: pytest.fail("swept"))
    with pytest.raises(InfrastructureError, match="rootless"):
        new_cluster().prepare(results)


def test_what_was_removed_of_what_killed_runs_left_is_reported_though_not_all_could_be(
    new_cluster, images_missing, results, monkeypatch, logged
):
    def sweep():
        raise SweepIncomplete({"mine": InfrastructureError("container stuck", hint="h")}, ["loop /dev/loop3"])

    cluster = new_cluster()
    monkeypatch.setattr(storage, "sweep", sweep)
    with pytest.raises(SweepIncomplete, match="container stuck"):
        cluster.prepare(results)
    assert logged.messages == ["removed loop /dev/loop3, which a killed run had left"]


def test_an_entry_of_somebody_elses_in_the_kubeconfig_is_reported_before_images_are_asked_for(
    new_cluster, images_missing, results, tmp_path
):
    config = tmp_path / "config"
    config.write_text("users: [{name: kind-rookery, user: {token: mine}}]\n", encoding="utf-8")
    with pytest.raises(UsageError, match="an entry kind-rookery"):
        new_cluster(kubeconfig=str(config)).prepare(results)


def test_nothing_is_swept_where_a_cluster_of_that_name_is_not_ours(new_cluster, images_missing, results, monkeypatch):
    """The lease of a dead run may be of that very name."""
    swept = []

    def refuse(name):
        raise UsageError(f"a kind cluster {name} exists", hint="h")

    monkeypatch.setattr(storage, "ensure_name_is_ours", refuse)
    monkeypatch.setattr(storage, "sweep", lambda: swept.append("all"))
    with pytest.raises(UsageError, match="exists"):
        new_cluster().prepare(results)
    assert swept == []


def test_whoever_waits_for_the_images_of_another_run_reports_it(monkeypatch, logged):
    """Be it a run, or `rookery images ensure`."""
    monkeypatch.setattr(locks, "LOGGED_AFTER", 0.0)
    monkeypatch.setattr(storage.images, "READY", 0.1)
    with machine_lock("images"), pytest.raises(DeadlineExceeded), storage.images.lock():
        pytest.fail("two at once")
    assert len([line for line in logged.messages if "images.lock" in line]) == 1


def test_a_second_try_to_prepare_has_the_same_addresses(new_cluster, images_missing, results):
    cluster = new_cluster(slot=1, slots=2)
    for _ in range(2):
        with pytest.raises(InfrastructureError, match="no registry answers"):
            cluster.prepare(results)
        assert cluster.topology.networks == Topology.load(KIND_CONFIGS / "default.yaml").shifted(1).networks


def test_a_cluster_takes_no_disk_of_this_machine(new_cluster, images_missing, results, monkeypatch):
    monkeypatch.setattr(storage.images, "ensure", lambda settings, references: [])
    cluster = new_cluster()
    cluster.prepare(results)
    with pytest.raises(UsageError, match="would take disks of this machine"):
        cluster.nodes._guard({"kind": "CephCluster", "spec": {"storage": {"useAllDevices": True}}}, ["/dev/loop264"])


def test_a_second_try_to_prepare_gives_way_to_what_came_up_meanwhile(new_cluster, images_missing, results):
    cluster = new_cluster(slot=1, slots=2, cluster_name="mine")
    with pytest.raises(InfrastructureError):
        cluster.prepare(results)
    Lease.acquire("other").add("route", "10.245.1.0/24", via="172.20.0.3")
    with pytest.raises(InfrastructureError):
        cluster.prepare(results)
    assert cluster.topology.networks == Topology.load(KIND_CONFIGS / "default.yaml").shifted(3).networks


def test_a_run_gives_way_to_one_that_has_not_made_anything_yet_and_the_end_gives_addresses_back(
    new_cluster, images_missing, results
):
    one, other = (new_cluster(cluster_name=name) for name in ("one", "other"))
    for cluster in (one, other):
        with pytest.raises(InfrastructureError):
            cluster.prepare(results)
    slots = [Topology.load(KIND_CONFIGS / "default.yaml").shifted(slot).networks for slot in range(2)]
    assert [cluster.topology.networks for cluster in (one, other)] == slots
    one.delete()
    other.delete()
    assert Lease.all() == []


def test_addresses_are_given_back_even_if_the_cluster_cannot_be_removed(cluster):
    def stuck():
        raise InfrastructureError("container stuck", hint="h")

    cluster._subnets.reserve(cluster.topology)
    cluster.kind = SimpleNamespace(delete=stuck)
    with pytest.raises(InfrastructureError, match="container stuck"):
        cluster.delete()
    assert Lease.all() == []


def test_a_cluster_that_is_kept_holds_no_more_than_its_nodes_do(cluster):
    kept = []
    cluster._subnets.reserve(cluster.topology)
    cluster.kind = SimpleNamespace(keep=lambda: kept.append([lease.name for lease in Lease.all()]))
    cluster.keep()
    assert kept == [["rookery.addresses"]]
    assert Lease.all() == []


def test_a_cluster_that_was_deleted_holds_its_addresses_again_before_it_is_made_anew(cluster, results):
    held = []
    cluster.kind = SimpleNamespace(create=lambda: held.append([lease.name for lease in Lease.all()]))
    cluster.create_nodes(results)
    assert held == [["rookery.addresses"]]


def test_a_cluster_is_ready_once_its_storage_driver_is_and_its_osds_have_converged(cluster, results, monkeypatch):
    did = []
    rook = SimpleNamespace(
        deploy=lambda: did.append("Rook deployed"),
        wait_for_operator_convergence=lambda: did.append(f"converged, ready: {cluster.ready}"),
    )
    drivers = SimpleNamespace(
        apply=lambda: did.append("driver applied"), ready=lambda: did.append(f"driver, ready: {cluster.ready}")
    )
    nodes = {"disks": {}, "workers": [], "kube": None, "topology": cluster.topology, "require_on": None}
    cluster.kind = SimpleNamespace(create=lambda: did.append("nodes"), **nodes)
    monkeypatch.setattr(RookSystem, "_rendering", lambda self, nodes, disks: None)
    monkeypatch.setattr(rook_system, "Rook", lambda *_, **__: rook)
    monkeypatch.setattr(RookSystem, "_drivers", drivers)
    monkeypatch.setattr(cluster, "note", lambda results: did.append("noted"))
    cluster.bring_up(results)
    assert did == [
        "nodes",
        "Rook deployed",
        "driver applied",
        "converged, ready: False",
        "driver, ready: False",
        "noted",
    ]
    assert cluster.ready
    assert "nothing to HEALTH_OK" in results.seconds()


def test_the_images_of_an_upgrade_are_there_before_it_begins_and_the_report_has_both_versions(
    cluster, results, monkeypatch
):
    did = []

    @plays(StorageSystem)
    class System:
        at = "1.17.8"

        def versions(self):
            return {"rook": self.at}

        def images_after(self, versions):
            return (f"rook/ceph:v{versions['rook']}",)

        def upgrade(self, versions, phase, milestone, *, healthy_first=True):
            did.append("begun" if healthy_first else "begun on what is not healthy")
            self.at = versions["rook"]
            milestone("every daemon")
            return Condition("upgraded", lambda: milestone(DONE), within=1)

    cluster.storage, cluster.results = System(), results
    image = SimpleNamespace(reference="rook/ceph:v1.18.8", origin=SimpleNamespace(value="built"))
    monkeypatch.setattr(storage.images, "ensure", lambda settings, wanted: did.append(wanted) or [image])
    monkeypatch.setattr(cluster, "require_images", lambda wanted: did.append("in the workers"))
    done = cluster.upgrade(rook="1.18.8")
    assert did == [("rook/ceph:v1.18.8",), "in the workers", "begun"]
    assert cluster.origins == {"rook/ceph:v1.18.8": "built"}
    noted = results.noted("upgrade")
    assert (noted["from"], noted["to"], "done_at" in noted) == ({"rook": "1.17.8"}, {"rook": "1.18.8"}, False)
    done.wait()
    assert results.noted("upgrade") == {**noted, "done_at": results.noted("upgrade")["done_at"]}
    assert results.noted("upgrade")["done_at"] >= noted["at"]
    assert list(results.seconds()) == ["images of the upgrade ready", "upgrade: every daemon", "upgrade: done"]


def test_an_upgrade_is_on_record_as_what_takes_nothing(cluster, results, monkeypatch, tmp_path):
    versions = iter([{"rook": "1.17.8"}, {"rook": "1.18.8"}])
    cluster.storage = SimpleNamespace(
        versions=lambda: next(versions),
        images_after=lambda versions: (),
        upgrade=lambda *_, healthy_first: Condition("upgraded", lambda: None, within=1),
    )
    cluster.results = results
    monkeypatch.setattr(storage.images, "ensure", lambda settings, wanted: [])
    monkeypatch.setattr(cluster, "require_images", lambda wanted: None)
    with Recorder(tmp_path / "history.jsonl") as cluster.history:
        cluster.upgrade(rook="1.18.8")
        (fault,) = cluster.history.history().faults()
    assert (fault.name, fault.loses_unsynced, fault.proof) == ("upgrade", False, "rook 1.17.8 is 1.18.8")


def test_a_roll_back_is_on_record_beside_the_upgrade(cluster, results, tmp_path):
    versions = iter([{"rook": "1.18.8", "ceph": "v18"}, {"rook": "1.17.8", "ceph": "v18"}])

    def roll_back(phase, milestone):
        milestone("every daemon")
        return Condition("rolled back", lambda: milestone(DONE), within=1)

    cluster.storage = SimpleNamespace(
        versions=lambda: next(versions), roll_back=roll_back, require_roll_back=lambda: None
    )
    cluster.results = results
    with Recorder(tmp_path / "history.jsonl") as cluster.history:
        cluster.roll_back().wait()
        (fault,) = cluster.history.history().faults()
    assert (fault.name, fault.loses_unsynced, fault.proof) == ("roll back", False, "rook 1.18.8 is 1.17.8")
    noted = results.noted("roll_back")
    assert noted["to"] == {"rook": "1.17.8", "ceph": "v18"}
    assert noted["done_at"] >= noted["at"]
    assert list(results.seconds()) == ["roll back: every daemon", "roll back: done"]


def test_a_roll_back_that_is_refused_is_no_fault_in_the_history(cluster, results, tmp_path):
    cluster.storage, cluster.results = LocalVolumes(Settings()), results
    with Recorder(tmp_path / "history.jsonl") as cluster.history:
        with pytest.raises(UsageError, match="no version to roll back"):
            cluster.roll_back()
        assert cluster.history.history().operations == []


def test_a_cluster_is_measured_with_its_rook_and_the_kubelets_of_its_topology(new_cluster, monkeypatch):
    cluster = new_cluster(kind_config=str(KIND_CONFIGS / "kubelet-root-dir.yaml"))
    cluster.kind = SimpleNamespace(kube="kube", node_names=["worker"])
    cluster.storage._nodes = cluster.kind
    monkeypatch.setattr(
        storage.MeasuredCluster, "measure", lambda measured: Fingerprint({("API", "b", "c"): Item(measured)})
    )
    (subject,) = [item.value for item in cluster.fingerprint().items.values()]
    assert (subject.kube, subject.nodes, subject.storage) == ("kube", ["worker"], cluster.storage)
    assert subject.kubelet_dir == storage.kubelet_dir(cluster.topology) != "/var/lib/kubelet"
    assert cluster.converge(cluster.fingerprint()).clean


def test_a_cluster_that_cannot_be_read_has_no_baseline(cluster, monkeypatch):
    unread = Fingerprint(unhealthy=("Ceph cannot be read: no quorum",), unread=frozenset({"Ceph"}))
    cluster.kind = SimpleNamespace(kube="kube", node_names=["worker"])
    monkeypatch.setattr(storage.MeasuredCluster, "measure", lambda measured: unread)
    monkeypatch.setattr(storage, "FINGERPRINT_TAKEN", 0)
    with pytest.raises(DeadlineExceeded, match="no quorum"):
        cluster.fingerprint()


@plays(rook_filesystems.Filesystems)
class Made:
    """What is asked for when a filesystem is served, in its order."""

    def __init__(self, did):
        self.did = did

    def apply(self, filesystem):
        self.did.append(f"{filesystem.name} asked for")

    def make(self, filesystem):
        self.did.append(f"{filesystem.name} served")


def test_the_driver_of_a_filesystem_starts_while_rook_is_at_it(cluster, monkeypatch):
    did = []
    system = cluster.storage
    system._rook = SimpleNamespace()
    monkeypatch.setattr(rook_system, "Filesystems", lambda rook: Made(did))
    monkeypatch.setattr(
        system, "deploy_filesystem_driver", lambda filesystem, name: did.append(f"driver Ready for {name}")
    )
    system.serve_filesystem(rook_system.Filesystem())
    assert did == ["myfs asked for", "driver Ready for rook-cephfs", "myfs served"]


@pytest.mark.parametrize(
    ("objects", "images", "trash", "loops", "left"),
    [
        ([], [], [], {}, []),
        (["VolumeAttachment"], ["not asked for"], [], {}, ["VolumeAttachment one"]),
        (["PersistentVolume", "VolumeAttachment"], [], [], {}, ["PersistentVolume one"]),
        ([], ["csi-vol-1"], [], {}, ["image replicapool/csi-vol-1"]),
        ([], [], ["csi-vol-2"], {}, ["image csi-vol-2 in the trash of replicapool"]),
        ([], ["csi-vol-1"], [], {70: 1}, ["image replicapool/csi-vol-1", "/dev/loop70"]),
    ],
)
def test_what_is_left_of_block_volumes(cluster, monkeypatch, objects, images, trash, loops, left):
    answers = {("ls", "replicapool"): images, ("trash", "ls", "replicapool", "--all"): [{"name": it} for it in trash]}
    one = {"metadata": {"name": "one"}, "spec": {}}
    kube = SimpleNamespace(list=lambda kind: [one] if kind in objects else [])
    rook = SimpleNamespace(spec=SimpleNamespace(pool="replicapool"), rbd=lambda *args: answers[args])
    cluster.kind = SimpleNamespace(kube=kube, node_names=["worker"], workers=["worker"])
    cluster.storage._nodes, cluster.storage._rook = cluster.kind, rook
    monkeypatch.setattr(rook_system, "volume_loops", lambda nodes: loops)
    monkeypatch.setattr(rook_system, "Filesystems", lambda rook: SimpleNamespace(in_ceph=set))
    assert cluster.storage.leaked_volumes(()) == left
    if left:
        with pytest.raises(NotYet, match=left[-1]):
            cluster.no_leaked_volumes.now()
    else:
        cluster.no_leaked_volumes.now()


def test_of_a_cluster_with_claims_a_volume_without_one_is_left_and_ceph_not_asked(cluster):
    volumes = [{"metadata": {"name": uid}, "spec": {"claimRef": {"uid": uid}}} for uid in ("mine", "nobodys")]
    kube = SimpleNamespace(list=lambda kind: volumes if kind == "PersistentVolume" else pytest.fail(kind))
    cluster.storage._nodes = SimpleNamespace(kube=kube)
    assert cluster.storage.leaked_volumes({"mine"}) == ["PersistentVolume nobodys"]
    assert cluster.storage.leaked_volumes({"mine", "nobodys"}) == []


@pytest.mark.parametrize(
    ("names", "left", "clients", "why"),
    [
        (["myfs"], ["csi-vol-1"], [], "csi-vol-1"),
        (["myfs"], [], ["rookery-cephfs-csi-vol-1.service"], "clients of CephFS on worker"),
        (["myfs"], [], [], None),
        ([], [], ["not asked for"], None),
    ],
)
def test_what_is_left_of_filesystem_volumes(cluster, monkeypatch, names, left, clients, why):
    @condition("no subvolume in {filesystem.name}", within=0)
    def empty(filesystem):
        if left:
            raise NotYet(", ".join(left))

    cluster.storage._rook, cluster.storage._nodes = SimpleNamespace(), SimpleNamespace(workers=["worker"])
    found = SimpleNamespace(in_ceph=lambda: set(names), empty=empty)
    monkeypatch.setattr(rook_system, "Filesystems", lambda rook: found)
    monkeypatch.setattr(rook_system.node_containers, "services", lambda worker, pattern: clients)
    told = cluster.storage._leaked_filesystem_volumes()
    assert told == [] if why is None else why in told[0]


def test_of_a_cluster_that_was_not_made_there_are_no_logs_and_no_folder_for_them(cluster, results):
    with pytest.raises(InfrastructureError, match="not been prepared"):
        cluster.gather_logs(results, "not-made")
    assert not results.has_logs("not-made")


def test_what_gathering_logs_takes_is_a_phase(cluster, results, monkeypatch):
    nodes = SimpleNamespace(node_names=["rookery-worker"])
    for name, value in (("kube", None), ("nodes", nodes)):
        monkeypatch.setattr(storage.StorageCluster, name, value)
    monkeypatch.setattr(log_bundle.bundle, "collect", lambda kube, folder, *, budget_bytes: None)
    monkeypatch.setattr(log_bundle.node_containers, "journal", lambda name: f"journal of {name}")
    monkeypatch.setattr(log_bundle.node_containers, "state", lambda name: f"state of {name}")
    cluster.gather_logs(results, "at-the-end")
    folder = results.folder / "logs/at-the-end"
    assert (folder / "rookery-worker.journal").read_text(encoding="utf-8") == "journal of rookery-worker"
    assert (folder / "rookery-worker.node.txt").read_text(encoding="utf-8") == "state of rookery-worker"
    assert "*" not in (folder / "index.txt").read_text(encoding="utf-8").partition("\n\n")[0]
    assert list(results.seconds()) == ["logs gathered"]


def driver_pod(kubelet_dir, started="2026-11-24T10:00:05Z", **state):
    volumes = [{"name": "run", "emptyDir": {}}, {"name": "kubelet", "hostPath": {"path": kubelet_dir}}]
    status = {"phase": "Running", "containerStatuses": [{"name": "driver", "state": state or running(started)}]}
    return {"metadata": {"name": "node-plugin"}, "spec": {"volumes": volumes}, "status": status}


def running(started):
    return {"running": {"startedAt": started}}


@pytest.mark.parametrize(
    ("pods", "why"),
    [
        ([], "no pod of it for /data/another"),
        ([driver_pod("/data/another-one")], "no pod of it for /data/another"),
        ([driver_pod("/data/another", waiting={"reason": "ErrImagePull"})], "ErrImagePull"),
        ([driver_pod("/data/another", started="2026-11-24T09:59:59Z")], "not started since"),
        ([driver_pod("/data/kubelet"), driver_pod("/data/another/plugins")], ""),
    ],
    ids=["none", "for another directory", "no image", "from before", "not Ready, but it runs"],
)
def test_the_driver_runs_for_a_directory_that_no_kubelet_may_have(cluster, pods, why):
    nodes = SimpleNamespace(workers=["worker"], kube=SimpleNamespace(list=lambda kind, **_: pods))
    cluster.storage._nodes = nodes
    runs = cluster.driver_pods.run_for("/data/another").since(unix_time("2026-11-24T10:00:00Z"))

    with pytest.raises(NotYet, match=f"worker: .*{why}") if why else nullcontext():
        runs.now()
