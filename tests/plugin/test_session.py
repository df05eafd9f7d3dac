"""Whose fault a failure is: outcome, exit status and junit.xml; and when a session makes its cluster, restores it,
and removes it."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import pytest
from playing import plays
from rookery.cluster.snapshots import Snapshot, SnapshotRefused
from rookery.errors import AnotherCluster, DeadlineExceeded, InfrastructureError, Unknown, UsageError
from rookery.machine.run import CommandFailed
from rookery.plugin import session
from rookery.plugin.session import ClusterVariant, Session
from rookery.settings import Settings
from rookery.storage.baseline import Cleaning, Fingerprint, Item
from rookery.storage.baseline.fingerprint import API
from rookery.storage.cluster import StorageCluster
from rookery.storage.states import State
from rookery.waiting import NotYet, condition

LATE = DeadlineExceeded("HEALTH_OK", 60, "2 osds down")
CLEAN_PICTURE = Fingerprint({(API, "Service", "a"): Item(1)})
CLEAN = Cleaning(0.9)
UNDONE = Cleaning(2.1, undone=("Service b deleted",))
DIRTY = Cleaning(10.2, left=("Ceph: pool x was not there",), undone=("Service b deleted",))


@pytest.fixture
def told(logged):
    """Gives what the session has logged, beside the phases of its scenarios."""
    return lambda: [record.getMessage() for record in logged.records if record.name == session.__name__]


INFRASTRUCTURE, INPUT, OWN = InfrastructureError("i", hint="h"), UsageError("b", hint="h"), AssertionError("a")


@pytest.mark.parametrize(
    ("failures", "status"),
    [
        ([], 5),  # as pytest has it
        ([INFRASTRUCTURE], 3),
        ([INFRASTRUCTURE, INPUT], 2),
        ([INPUT, INFRASTRUCTURE, OWN], 1),
        ([Unknown("u")], 1),
        ([LATE], 1),
    ],
)
def test_the_exit_status_is_that_of_the_weightiest_failure(failures, status):
    running = Session(Settings())
    running.failures = failures
    assert running.exit_status(5) == status


@plays(Snapshot)
@dataclass(frozen=True)
class Saved:
    """A snapshot; there is one as long as its name is in `Cluster.stored`."""

    name: str

    def remove(self):
        Cluster.stored.remove(self.name)


@plays(StorageCluster)
class Cluster:
    """A StorageCluster that remembers what was done to it; `stored` has the names of the snapshots there are."""

    stored: ClassVar[set[str]] = set()
    full: ClassVar[set[str]] = set()  # states for which there is no room
    refused: ClassVar[set[str]] = set()
    broken: ClassVar[set[str]] = set()  # states that cannot be made
    lost: ClassVar[dict[str, BaseException]] = {}  # snapshots that do not come back, and how that shows
    stuck = ""  # why it does not go on after nodes were frozen
    mute: BaseException | None = None  # why there are no logs
    lacking: ClassVar[set[str]] = set()  # images that no worker has
    found: ClassVar[list[Cleaning | BaseException]] = []  # what comes of converging, one time after the other
    now: Fingerprint | BaseException = CLEAN_PICTURE

    def __init__(self, settings, *, slot=0, slots=1, images=()):
        self.settings = settings
        self.topology = settings.kind_config
        self.place = (slot, slots)
        self.images = images
        self.ready = False
        self.did = []
        self.nodes = SimpleNamespace(kubeconfig_path="/k")
        self.saved = SimpleNamespace(find=self._find, save=self._save)

    def _find(self, name, *, storage):
        return Saved(name) if name in self.stored else None

    def prepare(self, results, *, storage):
        pass

    def require_images(self, references):
        lacking = self.lacking & set(references)
        self.did += [f"import {name}" for name in sorted(lacking)]
        self.lacking -= lacking
        return bool(lacking)

    def make(self, name):
        self.ready = False
        self.did.append(f"make {name}")
        if name in self.broken:
            raise InfrastructureError("no room", hint="h")
        self.ready = True

    def _save(self, name, results):
        self.did.append(f"save {name}")
        if name in self.full:
            raise InfrastructureError("no space left on device", hint="h")
        self.stored.add(name)
        self.refused.discard(name)
        self.lost.pop(name, None)
        return Saved(name)

    @condition("all nodes Ready and the storage healthy", within=0)
    def all_healthy(self):
        if self.stuck:
            raise NotYet(self.stuck)

    def restore(self, saved, results):
        self.ready = False
        if saved.name in self.refused:
            raise SnapshotRefused("/dev/loop64 is taken", hint="h")
        self.did.append(f"restore {saved.name}")
        if error := self.lost.get(saved.name):
            raise error
        self.ready = True

    def fingerprint(self):
        if isinstance(self.now, BaseException):
            raise self.now
        return self.now

    def converge(self, baseline):
        assert baseline is self.now
        found = self.found.pop(0) if self.found else CLEAN
        if isinstance(found, BaseException):
            raise found
        return found

    def note(self, results):
        results.record(driver="fake")

    def gather_logs(self, results, moment):
        self.did.append(f"logs {moment}")
        if self.mute:
            raise self.mute

    def keep(self):
        self.did.append("keep")

    def delete(self):
        self.did.append("delete")

    def did_since(self):
        """What was done since this was asked last."""
        did, self.did = self.did, []
        return did


ROOK = State("rook", lambda cluster, results: cluster.make("rook"))
NODES = State("nodes", lambda cluster, results: cluster.make("nodes"))
CASSANDRA = State(
    "cassandra", lambda cluster, results: cluster.make("cassandra"), base=ROOK, images=("cassandra:5.0.6",)
)
CEPHFS = State("cephfs", lambda cluster, results: cluster.make("cephfs"), base=ROOK)
DEPLOYED = ["delete", "make rook", "save rook"]


@pytest.fixture
def machine(monkeypatch):
    """Where snapshots outlive sessions; returns what can be set of its clusters."""
    for name in ("stored", "refused", "broken", "full", "lacking"):
        monkeypatch.setattr(Cluster, name, set())
    monkeypatch.setattr(Cluster, "lost", {})
    monkeypatch.setattr(Cluster, "found", [])
    monkeypatch.setattr(Cluster, "now", CLEAN_PICTURE)
    monkeypatch.setattr(Cluster, "mute", None)
    monkeypatch.setattr(session, "StorageCluster", Cluster)
    return Cluster


@pytest.fixture
def running(machine):
    """A session that knows of several scenarios to come for each state."""
    running = Session(Settings())
    for state in (ROOK, NODES, CASSANDRA, CEPHFS) * 2:
        running.expect(state)
    return running


def test_a_state_that_no_second_scenario_needs_is_not_saved(machine, results):
    running = Session(Settings())
    running.expect(CASSANDRA)
    assert running.cluster(CASSANDRA, results).did_since() == ["delete", "make rook", "make cassandra"]
    assert machine.stored == set()


def test_a_state_is_saved_for_those_that_are_made_on_it(machine, results):
    running = Session(Settings())
    for state in (CASSANDRA, ROOK):
        running.expect(state)
    assert running.cluster(ROOK, results).did_since() == DEPLOYED
    assert running.cluster(CASSANDRA, results).did_since() == ["make cassandra"]


def test_a_state_on_another_is_made_on_that_and_anew_when_it_is_not_clean(running, results, machine):
    cluster = running.cluster(CASSANDRA, results)
    assert cluster.did_since() == [*DEPLOYED, "make cassandra"]
    running.cluster(CASSANDRA, results)
    assert cluster.did_since() == []
    running.mark_dirty()
    running.cluster(CASSANDRA, results)
    running.cluster(ROOK, results)
    assert cluster.did_since() == ["restore rook", "make cassandra", "restore rook"]
    assert machine.stored == {"rook"}


def test_a_state_is_made_on_what_was_saved_of_the_one_below(running, results, machine):
    machine.stored |= {"rook", "cassandra"}  # the latter by a version that saved it
    assert running.cluster(CASSANDRA, results).did_since() == ["restore rook", "make cassandra"]


def test_a_state_is_made_on_the_cluster_that_scenarios_have_left_clean(running, results):
    cluster = running.cluster(ROOK, results)
    cluster.did_since()
    running.cluster(CEPHFS, results)
    assert cluster.did_since() == ["make cephfs"]


def test_a_state_of_another_topology_is_another_one(machine, results):
    running = Session(Settings())
    running.expect(ROOK)
    running.expect(ROOK, ClusterVariant("one-node.yaml"))
    assert running.cluster(ROOK, results).did_since() == ["delete", "make rook"]


def test_a_state_for_which_there_is_no_room_is_reported_and_used_all_the_same(running, results, machine, told):
    machine.full.add("rook")
    assert running.cluster(ROOK, results).did_since() == DEPLOYED
    assert "could not be saved" in told()[0]
    assert "no space left" in told()[0]


def test_nobody_begins_on_a_cluster_that_does_not_go_on_after_it_could_not_be_saved(
    running, results, machine, monkeypatch
):
    machine.full.add("rook")
    monkeypatch.setattr(session, "RESUMED_WITHIN", 0.0)
    monkeypatch.setattr(machine, "stuck", "HEALTH_WARN: 1 osds down")
    with pytest.raises(DeadlineExceeded, match="1 osds down"):
        running.cluster(ROOK, results)


def test_the_first_scenario_has_the_cluster_deployed_and_saved(running, results):
    cluster = running.cluster(ROOK, results)
    assert cluster.did_since() == DEPLOYED
    assert (results.noted("state"), results.noted("driver")) == ("rook", "fake")


def test_the_next_scenario_gets_it_at_once_if_it_is_clean(running, results, machine):
    cluster = running.cluster(ROOK, results)
    cluster.did_since()
    for machine.found in ([CLEAN], [UNDONE]):
        assert running.cluster(ROOK, results) is cluster
    assert cluster.did_since() == []
    assert results.noted("undone") == ["Service b deleted"]
    assert results.seconds()["clean"] == 2.1


def test_what_does_not_converge_is_restored_and_the_log_reports_what_it_was(running, results, machine, told):
    cluster = running.cluster(ROOK, results)
    cluster.did_since()
    machine.found = [DIRTY]
    assert running.cluster(ROOK, results) is cluster
    assert cluster.did_since() == ["restore rook"]
    assert told() == [f"{DIRTY}; restoring it"]
    assert "pool x was not there" in told()[0]
    assert results.noted("dirty") == ["Ceph: pool x was not there"]
    assert results.seconds()["not clean"] == 10.2
    running.cluster(ROOK, results)
    assert cluster.did_since() == []  # what was restored is measured anew


def test_a_cluster_that_cannot_be_looked_at_is_restored(running, results, machine, told):
    cluster = running.cluster(ROOK, results)
    cluster.did_since()
    machine.found = [InfrastructureError("docker exec: no such container", hint="h")]
    running.cluster(ROOK, results)
    assert cluster.did_since() == ["restore rook"]
    assert "no such container" in told()[0]


@pytest.mark.parametrize("trouble", [LATE, InfrastructureError("no toolbox", hint="h")])
def test_without_a_baseline_the_next_scenario_has_it_restored_and_this_one_goes_on(running, results, machine, trouble):
    machine.now = trouble
    cluster = running.cluster(ROOK, results)
    cluster.did_since()
    machine.now = CLEAN_PICTURE
    running.cluster(ROOK, results)
    assert cluster.did_since() == ["restore rook"]
    running.cluster(ROOK, results)
    assert cluster.did_since() == []


def test_a_cluster_is_made_with_the_images_of_all_scenarios_to_come(running, results):
    running.expect(CASSANDRA)
    running.expect(ROOK, images=["postgres:15-bookworm"])
    images = {"cassandra:5.0.6", "postgres:15-bookworm"}
    assert set(running.cluster(ROOK, results).images) == images
    assert set(running.another().images) == images


def test_a_state_that_was_saved_without_an_image_is_saved_with_it_once(running, results, machine):
    machine.stored.add("rook")
    running._cluster = cluster = Cluster(Settings())
    cluster.lacking = {"cassandra:5.0.6", "nobody:asks"}
    running.cluster(ROOK, results)
    assert cluster.did_since() == ["restore rook", "import cassandra:5.0.6", "save rook"]
    running.mark_dirty()
    running.cluster(CASSANDRA, results)
    assert cluster.did_since() == ["restore rook", "make cassandra"]


def test_a_state_that_no_second_scenario_needs_is_not_saved_with_an_image_either(machine, results):
    machine.stored.add("rook")
    running = Session(Settings())
    running.expect(CASSANDRA)
    running._cluster = cluster = Cluster(Settings())
    cluster.lacking = {"cassandra:5.0.6"}
    running.cluster(CASSANDRA, results)
    assert cluster.did_since() == ["restore rook", "make cassandra"]


def test_what_differs_between_a_state_and_itself_restored_is_reported(running, results, machine, told):
    running.cluster(ROOK, results)
    for picture, words in ((CLEAN_PICTURE, []), (Fingerprint(), ["API: Service a is gone"])):
        machine.now = picture
        running.mark_dirty()
        running.cluster(ROOK, results)
        assert results.noted("drift", []) == words
    assert told() == ["rook was restored, and is not what it was before: API: Service a is gone"]


def test_a_state_that_is_made_anew_may_be_another(running, results, machine):
    running.cluster(CEPHFS, results)
    machine.now = Fingerprint()
    running.mark_dirty()
    running.cluster(CEPHFS, results)
    assert results.noted("drift") is None


def test_a_scenario_in_another_state_is_no_reason_to_leave_it(running, results):
    cluster = running.cluster(NODES, results)
    cluster.did_since()
    running.cluster(ROOK, results)
    running.cluster(NODES, results)
    assert cluster.did_since() == [*DEPLOYED, "restore nodes"]


def test_what_a_failure_has_left_is_not_even_looked_at(running, results):
    cluster = running.cluster(ROOK, results)
    cluster.did_since()
    running.failed(AssertionError("row lost"))
    running.cluster(ROOK, results)
    assert cluster.did_since() == ["restore rook"]


def test_a_snapshot_of_an_earlier_run_is_used(running, results, machine):
    machine.stored.add("rook")
    assert running.cluster(ROOK, results).did_since() == ["restore rook"]


def test_a_state_is_not_made_on_what_a_scenario_has_left_otherwise(running, results, machine):
    cluster = running.cluster(ROOK, results)
    cluster.did_since()
    machine.found = [DIRTY]
    running.cluster(CEPHFS, results)
    assert cluster.did_since() == ["restore rook", "make cephfs"]


def test_fresh_trusts_only_what_was_saved_in_this_run(running, results, machine):
    machine.stored |= {"rook", "cassandra"}
    running.settings = Settings(no_snapshots=True)
    cluster = running.cluster(ROOK, results)
    assert cluster.did_since() == DEPLOYED
    running.mark_dirty()
    running.cluster(CASSANDRA, results)
    assert cluster.did_since() == ["restore rook", "make cassandra"]


def test_a_snapshot_that_cannot_be_had_here_is_made_anew_and_the_reason_reported(running, results, machine, told):
    machine.stored.add("rook")
    machine.refused.add("rook")
    cluster = running.cluster(ROOK, results)
    assert cluster.did_since() == DEPLOYED
    assert told() == ["rook cannot be restored: /dev/loop64 is taken; deploying anew"]
    running.mark_dirty()
    running.cluster(ROOK, results)
    assert cluster.did_since() == ["restore rook"]


@pytest.mark.parametrize(
    ("state", "anew"),
    [(ROOK, DEPLOYED), (CASSANDRA, ["restore rook", "make cassandra"])],
    ids=["base", "on it"],
)
def test_what_did_not_come_up_is_made_anew(running, results, machine, state, anew):
    machine.broken.add(state.name)
    with pytest.raises(InfrastructureError):
        running.cluster(state, results)
    assert state.name not in machine.stored
    machine.broken.clear()
    running._cluster.did_since()
    cluster = running.cluster(state, results)
    assert cluster.did_since() == anew


@pytest.mark.parametrize(
    "error",
    [
        LATE,
        AnotherCluster("another fsid"),
        CommandFailed(["tar", "-x"], 2, "Unexpected EOF in archive"),
        OSError(5, "Input/output error"),
    ],
    ids=["too late", "another cluster", "damaged", "unreadable"],
)
def test_a_snapshot_that_does_not_come_back_fails_its_scenario_and_is_not_used_again(running, results, machine, error):
    machine.stored |= {"rook", "nodes"}
    machine.lost["rook"] = error
    with pytest.raises(InfrastructureError if isinstance(error, AnotherCluster) else type(error)) as caught:
        running.cluster(ROOK, results)
    assert error in (caught.value, caught.value.__cause__), "the harness saved it: no scenario has done anything yet"
    assert machine.stored == {"nodes"}
    assert running.restored_s == []
    assert running._cluster.did_since() == ["restore rook", "logs not-recovered"]
    assert running.cluster(ROOK, results).did_since() == DEPLOYED


@pytest.mark.parametrize(
    "mute", [UsageError("no kubeconfig", hint="h"), LATE, OSError("disk full")], ids=["gone", "slow", "full"]
)
def test_a_cluster_that_does_not_even_give_its_logs_does_not_hide_how_it_failed(running, results, machine, mute):
    machine.stored.add("rook")
    machine.lost["rook"], machine.mute = AnotherCluster("another fsid"), mute
    with pytest.raises(InfrastructureError, match="another fsid"):
        running.cluster(ROOK, results)
    assert machine.stored == set()


@pytest.mark.parametrize(
    "mute", [None, InfrastructureError("not prepared", hint="h"), LATE], ids=["tells", "unmade", "slow"]
)
def test_a_cluster_that_does_not_come_up_is_asked_for_its_logs_and_reports_how_it_failed(
    running, results, machine, mute
):
    machine.broken.add("rook")
    machine.mute = mute
    with pytest.raises(InfrastructureError, match="no room"):
        running.cluster(ROOK, results)
    assert running._cluster.did_since() == ["delete", "make rook", "logs not-made"]


def test_a_snapshot_is_not_blamed_for_the_machine_and_is_restored_again(running, results, machine):
    machine.stored.add("rook")
    machine.lost["rook"] = InfrastructureError("docker is gone", hint="h")
    with pytest.raises(InfrastructureError, match="docker is gone"):
        running.cluster(ROOK, results)
    machine.lost.clear()
    running._cluster.did_since()
    assert running.cluster(ROOK, results).did_since() == ["restore rook"]


def test_sessions_side_by_side_have_clusters_in_slots_of_their_own_and_need_memory_for_all(
    machine, results, monkeypatch
):
    asked = []
    monkeypatch.setattr(session.capacity, "require_memory_for", asked.append)
    assert Session(Settings()).cluster(ROOK, results).place == (0, 1)
    assert asked == []  # alone, what is free counts
    running = Session(Settings(), slot=2, slots=4)
    assert asked == []  # there may be no scenario that needs a cluster
    assert running.cluster(ROOK, results).place == (2, 4)
    running.cluster(ROOK, results)
    assert asked == [4]


def test_where_the_memory_is_too_small_for_all_sessions_no_cluster_is_made(machine, results, monkeypatch):
    def too_small(clusters):
        raise InfrastructureError(f"{clusters} clusters at once need more", hint="h")

    monkeypatch.setattr(session.capacity, "require_memory_for", too_small)
    running = Session(Settings(), slots=2)
    with pytest.raises(InfrastructureError, match="2 clusters at once"):
        running.cluster(ROOK, results)
    assert running._cluster is None


def test_another_cluster_has_a_name_and_a_slot_that_no_session_has(machine, results, monkeypatch):
    asked = []
    monkeypatch.setattr(session.capacity, "require_memory_for", asked.append)
    running = Session(Settings(cluster_name="mine", kubeconfig="/k"), slot=2, slots=4)
    first, other = running.cluster(ROOK, results), running.another()
    assert (first.settings.cluster_name, other.settings.cluster_name) == ("mine", "mine-other")
    assert other.settings.kubeconfig is None  # what was asked for leads to the first
    assert other.place == (6, 4)
    assert asked == [4, 8]
    assert running.cluster(ROOK, results) is first


SPECIAL = "kind-configs/kubelet-root-dir.yaml"


def test_a_scenario_that_needs_another_topology_gets_another_cluster(running, results):
    usual = running.cluster(ROOK, results)
    usual.did_since()
    special = running.cluster(ROOK, results, ClusterVariant(SPECIAL))
    assert (usual.topology, special.topology) == (Settings().kind_config, SPECIAL)
    assert usual.did_since() == ["delete"]
    assert special.did_since() == ["restore rook"]  # untouched, but another one
    assert running.cluster(ROOK, results, ClusterVariant(SPECIAL)) is special
    assert running.cluster(ROOK, results).topology == usual.topology


def test_a_scenario_that_needs_another_rook_gets_another_cluster(running, results):
    usual = running.cluster(ROOK, results)
    older = running.cluster(ROOK, results, ClusterVariant(rook="1.17.8"))
    assert (usual.settings.rook, older.settings.rook) == (Settings().rook, "1.17.8")
    assert running.cluster(ROOK, results, ClusterVariant(rook="1.17.8")) is older
    assert running.cluster(ROOK, results, ClusterVariant(rook=Settings().rook)) is not older


def test_the_runs_manifests_are_of_its_own_version_alone(running, results):
    running.settings = Settings(rook_manifests="here")
    assert running.cluster(ROOK, results).settings.rook_manifests == "here"
    assert running.cluster(ROOK, results, ClusterVariant(rook="1.17.8")).settings.rook_manifests is None


def test_fresh_trusts_what_was_saved_in_this_run_of_that_topology_only(running, results):
    running.settings = Settings(no_snapshots=True)
    for _ in range(2):
        running.expect(ROOK, ClusterVariant(SPECIAL))
    assert running.cluster(ROOK, results).did_since() == DEPLOYED
    assert running.cluster(ROOK, results, ClusterVariant(SPECIAL)).did_since() == DEPLOYED
    assert running.cluster(ROOK, results).did_since() == ["restore rook"]


def test_the_summary_has_how_much_of_the_run_went_into_restoring(machine, results, monkeypatch):
    clock = SimpleNamespace(now=100.0)

    def restore(cluster, snapshot, results):
        clock.now += 20

    monkeypatch.setattr(session, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(Cluster, "restore", restore)
    machine.stored.add("rook")
    running = Session(Settings())
    assert running.summary() == ""
    running.cluster(ROOK, results)
    running.mark_dirty()
    running.cluster(ROOK, results)
    clock.now += 60
    assert running.summary() == "a cluster was restored 2 times in 40 s, 40% of the run"


def test_the_end_removes_the_cluster_once(running, results):
    cluster = running.cluster(ROOK, results)
    cluster.did_since()
    running.close()
    running.close()
    assert cluster.did_since() == ["delete"]


def test_a_cluster_to_keep_is_kept_and_its_kubeconfig_reported(running, results, told):
    running.settings = Settings(keep_cluster=True)
    cluster = running.cluster(ROOK, results)
    cluster.did_since()
    running.close()
    assert cluster.did_since() == ["keep"]
    assert "KUBECONFIG=/k" in told()[0]


def test_a_cluster_that_did_not_come_up_is_not_kept(running, results, machine):
    machine.broken.add("rook")
    running.settings = Settings(keep_cluster=True)
    with pytest.raises(InfrastructureError):
        running.cluster(ROOK, results)
    cluster = running._cluster
    cluster.did_since()
    running.close()
    assert cluster.did_since() == ["delete"]
