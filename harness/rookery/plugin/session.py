"""One run of scenarios: its cluster, what failed and by whose fault, and the exit status that follows."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from rookery.cluster.snapshots import Snapshot, SnapshotRefused
from rookery.csi.leaks import LeakDetected
from rookery.errors import DeadlineExceeded, InfrastructureError, RookeryError, StorageFailure
from rookery.kube import Kube, KubeError, retry_while_api_unavailable
from rookery.kube.objects import Object, still_there, title_of, value_of
from rookery.machine import capacity
from rookery.machine.run import CommandFailed
from rookery.plugin.outcomes import blamed, exit_status, outcome_of
from rookery.report.junit import write_junit
from rookery.report.results import Results
from rookery.settings import Settings
from rookery.storage.baseline import Fingerprint, compare, listed
from rookery.storage.cluster import GOES_ON, StorageCluster
from rookery.storage.states import Layer
from rookery.waiting import Condition, NotYet, minutes, wait_for

WORKLOAD_GONE = minutes(3)
LEAKS_GONE = minutes(2)  # deletes go on after what was deleted is gone from the API
AT_THE_END = "at-the-end"  # of logs


class Workload(Protocol):
    """What runs on the volumes."""

    @property
    def namespace(self) -> str: ...

    def deploy(self) -> None: ...
    @property
    def ready(self) -> Condition[None]: ...
    def close(self) -> None: ...


class Session:
    """The cluster of a run: each scenario finds it as it was freshly deployed, and it is removed at the end."""

    def __init__(self, settings: Settings, say: Callable[[str], None], *, slot: int = 0, slots: int = 1) -> None:
        """`slot` numbers the `slots` sessions that run side by side on this machine."""
        self.settings = settings
        self.say = say
        self._slot, self._slots = slot, slots
        self._images: set[str] = set()  # of the scenarios to come, beside what every run needs
        self.failures: list[BaseException] = []
        self.restored_s: list[float] = []  # seconds of each time that a cluster was restored
        self._began = time.monotonic()
        self._cluster: StorageCluster | None = None
        self._pristine: Layer | None = None  # the state it was handed out in, unless it is known to differ
        self._baseline: Fingerprint | None = None  # what the cluster was then
        self._earlier: dict[tuple[str, str], Fingerprint] = {}  # the baselines before it, by topology and state
        self._restored = False  # whether that state was restored, not made
        self._topology = settings.kind_config  # of the cluster there is
        self._made: set[tuple[str, str]] = (
            set()
        )  # topologies and layers made in this run: `--no-snapshots` trusts no others
        self._expected: Counter[tuple[str, Layer]] = Counter()  # scenarios to come that begin in it or on it

    def expect(self, layer: Layer, *, topology: str | None = None, images: Iterable[str] = ()) -> None:
        """Say of a scenario to come in what state it begins, and what images it asks for beside those of the state.

        A state is saved when a second one will need it. Nodes are made with the images of all of them.
        """
        self._images.update(images)
        for each in layer.bases:
            self._expected[topology or self.settings.kind_config, each] += 1
            self._images.update(each.images)

    def failed(self, error: BaseException) -> None:
        """Remember a failure; what it left of the cluster is not used again as it is."""
        self.failures.append(error)
        self.mark_dirty()

    def mark_dirty(self) -> None:
        """A scenario leaves what no measurement would show: the next one has the cluster restored."""
        self._pristine = None

    def cluster(self, layer: Layer, results: Results, *, topology: str | None = None) -> StorageCluster:
        """The cluster in that state: the one there is, if it is seen to be clean, or else restored or made.

        With a `topology` (the path of a kind configuration) of its own, a scenario gets another cluster in its place.
        """
        wanted = topology or self.settings.kind_config
        if self._cluster is not None and self._topology != wanted:
            self._cluster.delete()
            self._cluster = None
        if self._cluster is None:
            self._pristine = None
            self._cluster = self._new_cluster(wanted)
        cluster = self._cluster
        for each in layer.bases:
            self._expected[self._topology, each] -= 1
        if not self._is_in(layer, cluster, results):
            with results.uncounted():
                cluster.prepare(results)
            try:
                self._put(cluster, layer, results)
            except StorageFailure as error:  # of what the harness has saved, before anybody's fault was made
                raise InfrastructureError(f"{layer.name} is not what was saved: {error.message}") from error
            self._take_baseline(layer, cluster, results)
        cluster.note(results)
        results.note(layer=layer.name)
        self._pristine = layer
        return cluster

    def _is_in(self, layer: Layer, cluster: StorageCluster, results: Results) -> bool:
        """Whether the cluster is in that state already."""
        return self._pristine is layer and self._is_clean(cluster, results)

    def _is_clean(self, cluster: StorageCluster, results: Results) -> bool:
        """Whether it is what it was at its baseline, or has become so again, now that it is looked at."""
        if self._baseline is None:
            self.say("it is not known what the cluster was when its state was reached; restoring it")
            return False
        begin = results.elapsed
        try:
            cleaning = cluster.converge(self._baseline)
        except RookeryError as error:
            self.say(f"whether the cluster is clean cannot be seen: {error}; restoring it")
            results.note(dirty=[str(error)])
            self._pristine = None
            return False
        results.add_phase("clean" if cleaning.clean else "not clean", begin, cleaning.seconds)
        results.note(
            **{name: list(told) for name, told in (("undone", cleaning.undone), ("dirty", cleaning.left)) if told}
        )
        if not cleaning.clean:
            self.say(f"{cleaning}; restoring it")
            self._pristine = None
        elif cleaning.undone:
            self.say(str(cleaning))
        return cleaning.clean

    def _take_baseline(self, layer: Layer, cluster: StorageCluster, results: Results) -> None:
        """What the next scenario's cluster has to be. Without one it is restored, so that nobody fails for this."""
        self._baseline = None
        try:
            with results.phase("baseline taken"):
                self._baseline = cluster.fingerprint()
        except RookeryError as error:
            self.say(f"no baseline: {error}")
            return
        which = (self._topology, layer.name)
        if self._restored and which in self._earlier:
            # The same saved state twice: what differs lives a life of its own, and belongs into `baseline.rules`.
            drift = [str(each) for each in compare(self._earlier[which], self._baseline)]
            if drift:
                self.say(f"{layer.name} was restored, and is not what it was before: {listed(drift)}")
                results.note(drift=drift)
        self._earlier[which] = self._baseline

    def _put(self, cluster: StorageCluster, layer: Layer, results: Results) -> None:
        """Put the cluster into that state, from its snapshot; where there is none that may be used, make it from what
        it is made on, or from nothing."""
        trusted = not self.settings.no_snapshots or (self._topology, layer.name) in self._made
        snapshot = cluster.cell.find(layer.name) if trusted and layer.saved else None
        if snapshot is not None:
            try:
                self._restore(cluster, snapshot, results)
                self._restored = True
                return
            except SnapshotRefused as error:
                self.say(f"{layer.name} cannot be restored: {error}; deploying anew")
        with results.uncounted() if layer.saved else nullcontext():  # what is saved is made once for many
            self._make(cluster, layer, results)

    def _make(self, cluster: StorageCluster, layer: Layer, results: Results) -> None:
        """Make that state of what it is made on, or of nothing; save it if a second scenario will need it."""
        if layer.on is None:
            cluster.delete()
        elif not self._is_in(layer.on, cluster, results):
            self._put(cluster, layer.on, results)
        self._pristine, self._restored = None, False
        try:
            layer.make(cluster, results)
        except Exception:
            _gather_what_there_is(cluster, results, "not-made")
            raise
        if layer.saved and self._expected[self._topology, layer] > 0:
            self._save(cluster, layer, results)

    def _save(self, cluster: StorageCluster, layer: Layer, results: Results) -> None:
        """Keep the state for those that are still to come; they get it made anew where it cannot be kept."""
        try:
            cluster.save_layer(layer.name, results)
        except InfrastructureError as error:
            self.say(f"{layer.name} could not be saved, and is made anew when it is needed again: {error}")
            # It may have stood still for long before that failed, and the scenario begins on it.
            cluster.as_deployed.wait(within=GOES_ON)
            return
        self._made.add((self._topology, layer.name))

    def _restore(self, cluster: StorageCluster, snapshot: Snapshot, results: Results) -> None:
        begin = time.monotonic()
        self._pristine = None
        try:
            cluster.restore(snapshot, results)
        except (CommandFailed, OSError, DeadlineExceeded, StorageFailure):
            _gather_what_there_is(cluster, results, "not-recovered")
            snapshot.remove()  # damaged, or it does not come back as what it was: the next scenario gets a new one
            raise
        self.restored_s.append(time.monotonic() - begin)

    def summary(self) -> str:
        """How often a cluster was restored, and what that took of the run; empty if it never was."""
        if not self.restored_s:
            return ""
        spent, whole = sum(self.restored_s), time.monotonic() - self._began
        return f"a cluster was restored {len(self.restored_s)} times in {spent:.0f} s, {spent / whole:.0%} of the run"

    def _new_cluster(self, topology: str) -> StorageCluster:
        if self._slots > 1:
            capacity.require_memory_for(self._slots)
        self._topology = topology
        settings = replace(self.settings, kind_config=topology)
        return StorageCluster(settings, self.say, slot=self._slot, slots=self._slots, images=self._images)

    def another(self) -> StorageCluster:
        """One more cluster, to be brought up beside the one there is, and deleted, by whoever asks."""
        capacity.require_memory_for(2 * self._slots)
        settings = replace(self.settings, cluster_name=f"{self.settings.cluster_name}-other", kubeconfig=None)
        # Other addresses than those of the sessions side by side, and of what they ask for besides.
        slot = self._slot + self._slots
        return StorageCluster(settings, self.say, slot=slot, slots=self._slots, images=self._images)

    def close(self) -> None:
        """Remove the cluster, or leave it if it is to be kept."""
        cluster, self._cluster = self._cluster, None
        if cluster is None:
            return
        if self.settings.keep_cluster and cluster.ready:
            cluster.keep()
            self.say(f"kept: export KUBECONFIG={cluster.nodes.kubeconfig_path}; remove it with: rookery sweep --all")
        else:
            cluster.delete()

    def exit_status(self, of_pytest: int) -> int:
        """That of the weightiest failure; pytest's own where nothing has failed."""
        return exit_status(self.failures) if self.failures else of_pytest


def require_nothing_left(cluster: StorageCluster, results: Results, calls: Mapping[str, Any], *, excuse: str) -> None:
    """See that a scenario that has passed leaves nothing of volumes behind; of one that has not, note what it left.

    With an `excuse` nobody looks, nor at a cluster that is gone or has a node switched off, where nothing would answer.
    Raises `LeakDetected`.
    """
    call = calls.get("call")
    if call is None or outcome_of(_error_of(call), at_setup=False) == "skipped" or cluster.driver != "userspace":
        return
    if excuse:
        results.note(skip_leak_check=excuse)
    elif call.excinfo is not None:
        with suppress(RookeryError, NotYet, OSError):
            results.note(left_behind=[str(finding) for finding in cluster.leaks()] if cluster.powered else [])
    elif cluster.powered:
        try:
            with results.phase("nothing left behind"):
                cluster.nothing_leaked().wait(within=LEAKS_GONE)
        except DeadlineExceeded as error:
            results.note(left_behind=error.reason.splitlines())
            raise LeakDetected(str(error)) from error


def _error_of(call: Any) -> BaseException | None:
    return call.excinfo.value if call.excinfo else None


def _error_among(calls: Mapping[str, Any]) -> BaseException | None:
    return next((found for call in calls.values() if (found := _error_of(call))), None)


def gather_logs_of_failure(
    cluster: StorageCluster, results: Results, calls: Mapping[str, Any], *, left: BaseException | None = None
) -> None:
    """Gather the logs of a scenario that has failed, by pytest's calls of it or by what it has `left` behind, unless
    its workload's end has gathered them. A cluster that does not give them does not hide how it failed."""
    error = _error_among(calls) or left
    failed = error is not None and outcome_of(error, at_setup=False) != "skipped"
    if failed and not results.has_logs(AT_THE_END):
        _gather_what_there_is(cluster, results, AT_THE_END)


def _gather_what_there_is(cluster: StorageCluster, results: Results, moment: str) -> None:
    with suppress(RookeryError, OSError):
        cluster.gather_logs(results, moment)


def finish(
    results: Results,
    scenario: str,
    calls: Mapping[str, Any],
    *,
    unclean: BaseException | None = None,
    properties: Iterable[tuple[str, object]] = (),
) -> None:
    """Settle the outcome of a scenario by pytest's calls of it ("setup", "call") and by what made its end `unclean`;
    where the machine was short of room meanwhile, by that (see `blamed`). Write its junit.xml. May be called again,
    when more is known."""
    error = _error_among(calls) or unclean
    if error is None and "call" not in calls:
        error = KeyboardInterrupt("interrupted")  # of which pytest makes no call
    if error is not None:
        error = blamed(error, "call" if "call" in calls else "setup", machine=short_of_room(results))
    results.finish(outcome_of(error, at_setup=False))
    write_junit(results.path("junit.xml"), scenario, results.elapsed, results.outcome, error, properties)


def short_of_room(results: Results | None) -> InfrastructureError | None:
    """What the machine was short of while the scenario ran; None if it had room."""
    short = results.room_is_short() if results else ""
    return (
        InfrastructureError(
            f"the machine's disk was full: {short}",
            hint="free some, or set ROOKERY_STATE_DIR to a folder on another filesystem, and run it again",
        )
        if short
        else None
    )


@contextmanager
def in_use(workload: Workload, cluster: StorageCluster, results: Results) -> Iterator[None]:
    """Have a workload ready that came with the cluster, and stays until that is restored; gather logs at the end."""
    with results.phase("workload Ready"):
        workload.ready.since(cluster.started).wait()
    try:
        yield
    finally:
        workload.close()
        cluster.gather_logs(results, AT_THE_END)


@contextmanager
def deployed(workload: Workload, cluster: StorageCluster, results: Results) -> Iterator[None]:
    """Have the workload ready; at the end gather logs, remove it, and see that nothing of its volumes is left."""
    with removed(workload, cluster, results):
        with results.phase("workload Ready"):
            workload.deploy()
            workload.ready.wait()
        yield


@contextmanager
def removed(workload: Workload, cluster: StorageCluster, results: Results) -> Iterator[None]:
    """Whatever a scenario deploys of the workload: at the end as with `deployed`.

    Nothing may be deployed before this has begun: applying a namespace that is going changes nothing, and it goes.
    """
    going = partial(_not_going, cluster.kube, workload.namespace)
    wait_for(going, what=f"an earlier namespace {workload.namespace} to be gone", within=WORKLOAD_GONE)
    try:
        yield
    finally:
        workload.close()
        cluster.gather_logs(results, AT_THE_END)
    with results.phase("workload and volumes removed"):
        remove_namespace(cluster.kube, workload.namespace)
        gone = partial(_volumes_gone, cluster)
        wait_for(gone, what="every volume's image and loop device to be gone", within=WORKLOAD_GONE)


def remove_namespace(kube: Kube, namespace: str) -> None:
    """Delete a namespace: its pods, snapshots and claims are gone then, and it is going; pods are given a second, as
    nobody will use them again.

    What takes a while goes first: a namespace's own controller that has met a pod does not look again for ten seconds.
    It does not begin before five have passed, which only the next one of that name has to wait for. A claim of which a
    snapshot is being taken stays until that is done with, or gone (the finalizer pvc-as-source-protection).
    """
    kinds = ("StatefulSet", "Deployment", "DaemonSet", "Pod", "VolumeSnapshot", "PersistentVolumeClaim")

    def there(kind: str) -> list[Object]:
        try:
            return kube.list(kind, namespace=namespace)
        except KubeError as error:
            if error.status == 404:  # a cluster without snapshots serves no such kind
                return []
            raise

    for kind in kinds:
        for found in there(kind):
            kube.delete(kind, found["metadata"]["name"], namespace=namespace, grace_seconds=1)

    @retry_while_api_unavailable()
    def emptied() -> None:
        if left := [f"{kind} {title_of(found)}" for kind in kinds for found in there(kind)]:
            raise NotYet(f"there is still {', '.join(left)}")

    wait_for(emptied, what=f"pods, snapshots and claims of namespace {namespace} to be gone", within=WORKLOAD_GONE)
    kube.delete("Namespace", namespace)


@retry_while_api_unavailable()
def _volumes_gone(cluster: StorageCluster) -> None:
    """Condition: no volume is left without its claim. Whoever goes last of a scenario's workloads leaves nothing."""
    claims = {claim["metadata"]["uid"] for claim in cluster.kube.list("PersistentVolumeClaim")}
    if not claims:
        return cluster.no_volumes_left.now()
    volumes = cluster.kube.list("PersistentVolume")
    left = [title_of(each) for each in volumes if value_of(each, "spec", "claimRef", "uid") not in claims]
    if left:
        raise NotYet(", ".join(left))


@retry_while_api_unavailable()
def _not_going(kube: Kube, namespace: str) -> None:
    found = kube.get("Namespace", namespace)
    if found and found["metadata"].get("deletionTimestamp"):
        raise NotYet(still_there(found))


def speaker(terminal: Any, capture: Any, worker: str = "") -> Callable[[str], None]:
    """A function that prints a line at once, around pytest's capture: through its terminal, or as a worker that has
    none (pytest-xdist) on standard error, with the worker's name."""

    def say(line: str) -> None:
        with capture.global_and_fixture_disabled():
            if terminal is None:
                print(f"  {worker} {line}", file=sys.stderr, flush=True)
            else:
                terminal.ensure_newline()
                terminal.write_line(f"  {line}", flush=True)

    return say
