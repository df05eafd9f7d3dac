"""One run of scenarios: its cluster, what failed and by whose fault, and the exit status that follows."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, Protocol

from rookery.cluster.snapshots import Snapshot, SnapshotRefused
from rookery.csi.leaks import LeakDetected
from rookery.errors import DeadlineExceeded, InfrastructureError, RookeryError, StorageFailure, in_words
from rookery.kube import Kube, retry_while_api_unavailable
from rookery.kube.objects import still_there
from rookery.machine import capacity
from rookery.machine.run import CommandFailed
from rookery.plugin.outcomes import blamed, exit_status, outcome_of
from rookery.report.results import Results
from rookery.settings import Settings
from rookery.storage.baseline import Fingerprint, compare, listed
from rookery.storage.cluster import StorageCluster
from rookery.storage.saved import RESUMED_WITHIN
from rookery.storage.states import State
from rookery.waiting import Condition, NotYet, minutes, wait_for
from rookery.workloads.namespaces import remove_namespace

log = logging.getLogger(__name__)

WORKLOAD_GONE = minutes(3)
LEAKS_GONE = minutes(2)  # deletes go on after what was deleted is gone from the API
AT_THE_END = "at-the-end"  # of logs


class ClusterVariant(NamedTuple):
    """A kind of cluster that a run has, by what is not as the run's settings have it; empty where it is."""

    kind_config: str = ""
    rook: str = ""


DEFAULT = ClusterVariant()


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

    def __init__(self, settings: Settings, *, slot: int = 0, slots: int = 1) -> None:
        """`slot` numbers the `slots` sessions that run side by side on this machine."""
        self.settings = settings
        self._slot, self._slots = slot, slots
        self._images: set[str] = set()  # of the scenarios to come, beside what every run needs
        self.failures: list[BaseException] = []
        self.restored_s: list[float] = []  # seconds of each time that a cluster was restored
        self._began = time.monotonic()
        self._cluster: StorageCluster | None = None
        self._clean: State | None = None  # the state it was handed out in, unless it is known to differ
        self._baseline: Fingerprint | None = None  # what the cluster was then
        self._earlier: dict[tuple[ClusterVariant, str], Fingerprint] = {}  # the baselines before it
        self._restored = False  # whether that state was restored, not made
        self._variant = DEFAULT  # of the cluster there is
        # Clusters and states made in this run: `--no-snapshots` trusts no others.
        self._made: set[tuple[ClusterVariant, str]] = set()
        self._expected: Counter[tuple[ClusterVariant, State]] = Counter()  # scenarios to come that begin in it or on it

    def expect(self, state: State, variant: ClusterVariant = DEFAULT, *, images: Iterable[str] = ()) -> None:
        """Say of a scenario to come in what state it begins, and what images it asks for beside those of the state.

        A state is saved when a second one will need it. Nodes are made with the images of all of them.
        """
        self._images.update(images)
        for each in state.bases:
            self._expected[self._normalised(variant), each] += 1
            self._images.update(each.images)

    def failed(self, error: BaseException) -> None:
        """Remember a failure; what it left of the cluster is not used again as it is."""
        self.failures.append(error)
        self.mark_dirty()

    def mark_dirty(self) -> None:
        """A scenario leaves what no measurement would show: the next one has the cluster restored."""
        self._clean = None

    def cluster(self, state: State, results: Results, variant: ClusterVariant = DEFAULT) -> StorageCluster:
        """The cluster in that state: the one there is, if it is seen to be clean, or else restored or made.

        Where it is another one than there is (`variant`), it takes that one's place.
        """
        wanted = self._normalised(variant)
        if self._cluster is not None and self._variant != wanted:
            self._cluster.delete()
            self._cluster = None
        if self._cluster is None:
            self._clean = None
            self._cluster = self._new_cluster(wanted)
        cluster = self._cluster
        for each in state.bases:
            self._expected[self._variant, each] -= 1
        if not self._is_in(state, cluster, results):
            with results.uncounted():
                cluster.prepare(results, storage=state.with_storage)
            try:
                self._put(cluster, state, results)
            except StorageFailure as error:  # of what the harness has saved, before anybody's fault was made
                raise InfrastructureError(
                    f"{state.name} is not what was saved: {error.message}",
                    hint="--no-snapshots deploys it anew",
                ) from error
            self._take_baseline(state, cluster, results)
        cluster.note(results)
        results.record(state=state.name)
        self._clean = state
        return cluster

    def _is_in(self, state: State, cluster: StorageCluster, results: Results) -> bool:
        """Whether the cluster is in that state already."""
        return self._clean is state and self._is_clean(cluster, results)

    def _is_clean(self, cluster: StorageCluster, results: Results) -> bool:
        """Whether it is what it was at its baseline, or has become so again, now that it is looked at."""
        if self._baseline is None:
            log.info("it is not known what the cluster was when its state was reached; restoring it")
            return False
        begin = results.elapsed
        try:
            cleaning = cluster.converge(self._baseline)
        except RookeryError as error:
            log.warning("whether the cluster is clean cannot be seen: %s; restoring it", in_words(error))
            results.record(dirty=[str(error)])
            self._clean = None
            return False
        results.add_phase("clean" if cleaning.clean else "not clean", begin, cleaning.seconds)
        results.record(
            **{name: list(found) for name, found in (("undone", cleaning.undone), ("dirty", cleaning.left)) if found}
        )
        if not cleaning.clean:
            log.info("%s; restoring it", cleaning)
            self._clean = None
        elif cleaning.undone:
            log.info("%s", cleaning)
        return cleaning.clean

    def _take_baseline(self, state: State, cluster: StorageCluster, results: Results) -> None:
        """What the next scenario's cluster has to be. Without one it is restored, so that nobody fails for this."""
        self._baseline = None
        try:
            with results.phase("baseline taken"):
                self._baseline = cluster.fingerprint()
        except RookeryError as error:
            log.warning("no baseline: %s", error)
            return
        begun = (self._variant, state.name)
        if self._restored and begun in self._earlier:
            # The same saved state twice: what differs lives a life of its own, and belongs into `baseline.rules`.
            drift = [str(each) for each in compare(self._earlier[begun], self._baseline)]
            if drift:
                log.warning("%s was restored, and is not what it was before: %s", state.name, listed(drift))
                results.record(drift=drift)
        self._earlier[begun] = self._baseline

    def _put(self, cluster: StorageCluster, state: State, results: Results) -> None:
        """Put the cluster into that state, from its snapshot; where there is none that may be used, make it from what
        it is made on, or from nothing."""
        trusted = not self.settings.no_snapshots or (self._variant, state.name) in self._made
        snapshot = cluster.saved.find(state.name, storage=state.with_storage) if trusted and state.saved else None
        if snapshot is not None:
            try:
                self._restore(cluster, snapshot, results)
                self._restored = True
                self._complete(cluster, state, results)
                return
            except SnapshotRefused as error:
                log.warning("%s cannot be restored: %s; deploying anew", state.name, in_words(error))
        with results.uncounted() if state.saved else nullcontext():  # what is saved is made once for many
            self._make(cluster, state, results)

    def _complete(self, cluster: StorageCluster, state: State, results: Results) -> None:
        """Bring the images of the scenarios to come into a state that was saved without, and save it with them, if a
        second scenario will need it: else each run would bring them anew."""
        if self._expected[self._variant, state] > 0:
            with results.uncounted():
                if cluster.require_images(self._images):
                    self._save(cluster, state, results)

    def _make(self, cluster: StorageCluster, state: State, results: Results) -> None:
        """Make that state of what it is made on, or of nothing; save it if a second scenario will need it."""
        if state.base is None:
            cluster.delete()
        elif not self._is_in(state.base, cluster, results):
            self._put(cluster, state.base, results)
        self._clean, self._restored = None, False
        try:
            state.make(cluster, results)
        except Exception:
            _gather_what_there_is(cluster, results, "not-made")
            raise
        if state.saved and self._expected[self._variant, state] > 0:
            self._save(cluster, state, results)

    def _save(self, cluster: StorageCluster, state: State, results: Results) -> None:
        """Keep the state for those that are still to come; they get it made anew where it cannot be kept."""
        try:
            cluster.saved.save(state.name, results)
        except InfrastructureError as error:
            message = "%s could not be saved, and is made anew when it is needed again: %s"
            log.warning(message, state.name, error)
            # It may have stood still for long before that failed, and the scenario begins on it.
            cluster.all_healthy.wait(within=RESUMED_WITHIN)
            return
        self._made.add((self._variant, state.name))

    def _restore(self, cluster: StorageCluster, snapshot: Snapshot, results: Results) -> None:
        begin = time.monotonic()
        self._clean = None
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

    def _normalised(self, variant: ClusterVariant) -> ClusterVariant:
        """The same, with nothing that is as the run's settings have it anyway."""
        as_set = {name: "" for name, own in variant._asdict().items() if own == getattr(self.settings, name)}
        return variant._replace(**as_set)

    def _new_cluster(self, variant: ClusterVariant) -> StorageCluster:
        if self._slots > 1:
            capacity.require_memory_for(self._slots)
        self._variant, settings = variant, self.settings
        if variant.kind_config:
            settings = replace(settings, kind_config=variant.kind_config)
        if variant.rook:  # the manifests of `--rook-manifests` are of the run's version
            settings = replace(settings, rook=variant.rook, rook_manifests=None)
        return StorageCluster(settings, slot=self._slot, slots=self._slots, images=self._images)

    def another(self) -> StorageCluster:
        """One more cluster, to be brought up beside the one there is, and deleted, by whoever asks."""
        capacity.require_memory_for(2 * self._slots)
        settings = replace(self.settings, cluster_name=f"{self.settings.cluster_name}-other", kubeconfig=None)
        # Other addresses than those of the sessions side by side, and of what they ask for besides.
        slot = self._slot + self._slots
        return StorageCluster(settings, slot=slot, slots=self._slots, images=self._images)

    def close(self) -> None:
        """Remove the cluster, or leave it if it is to be kept."""
        cluster, self._cluster = self._cluster, None
        if cluster is None:
            return
        if self.settings.keep_cluster and cluster.ready:
            cluster.keep()
            message = "kept: export KUBECONFIG=%s; remove it with: rookery sweep --all"
            log.info(message, cluster.nodes.kubeconfig_path)
        else:
            cluster.delete()

    def exit_status(self, of_pytest: int) -> int:
        """That of the weightiest failure; pytest's own where nothing has failed."""
        return exit_status(self.failures) if self.failures else of_pytest


def require_no_leaks(cluster: StorageCluster, results: Results, calls: Mapping[str, Any], *, excuse: str) -> None:
    """See that a scenario that has passed leaves nothing of volumes behind; of one that has not, note what it left.

    With an `excuse` nobody looks, nor at a cluster that is gone or has a node switched off, where nothing would answer.
    Raises `LeakDetected`.
    """
    call = calls.get("call")
    if call is None or outcome_of(_error_of(call), at_setup=False) == "skipped" or not cluster.storage.finds_leaks:
        return
    if excuse:
        results.record(skip_leak_check=excuse)
    elif call.excinfo is not None:
        with suppress(RookeryError, NotYet, OSError):
            results.record(leaks=[str(finding) for finding in cluster.leaks()] if cluster.running else [])
    elif cluster.running:
        try:
            with results.phase("no leaks"):
                cluster.no_leaks().wait(within=LEAKS_GONE)
        except DeadlineExceeded as error:
            results.record(leaks=error.reason.splitlines())
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
    calls: Mapping[str, Any],
    *,
    unclean: BaseException | None = None,
) -> None:
    """Settle the outcome of a scenario by pytest's calls of it ("setup", "call") and by what made its end `unclean`;
    where the machine was short of room meanwhile, by that (see `blamed`). May be called again, when more is known."""
    error = _error_among(calls) or unclean
    if error is None and "call" not in calls:
        error = KeyboardInterrupt()  # of which pytest makes no call
    if error is not None:
        error = blamed(error, "call" if "call" in calls else "setup", machine=short_of_disk_space(results))
    results.finish(outcome_of(error, at_setup=False))


def short_of_disk_space(results: Results | None) -> InfrastructureError | None:
    """What the machine was short of while the scenario ran; None if it had room."""
    short = results.disk_space_is_short() if results else ""
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
    """Have the workload ready; at the end gather logs, and remove it with its volumes, as `removed` does."""
    with removed(workload, cluster, results):
        with results.phase("workload Ready"):
            workload.deploy()
            workload.ready.wait()
        yield


@contextmanager
def removed(workload: Workload, cluster: StorageCluster, results: Results) -> Iterator[None]:
    """Whatever a scenario deploys of the workload: at the end its logs are gathered, and it goes with its volumes.

    A scenario that has failed is not asked to remove anything: what it left is evidence, and noted by the leak check.
    Nothing may be deployed before this has begun: applying a namespace that is going changes nothing, and it goes.
    """
    going = partial(_not_going, cluster.kube, workload.namespace)
    wait_for(going, what=f"an earlier namespace {workload.namespace} to be gone", within=WORKLOAD_GONE)
    try:
        yield
    finally:
        workload.close()
        cluster.gather_logs(results, AT_THE_END)
    if results.noted("failures", []):
        return  # its volumes may never go, which would be told as a second failure; the cluster is restored anyway
    with results.phase("workload and volumes removed"):
        remove_namespace(cluster.kube, workload.namespace)
        cluster.no_leaked_volumes.wait(within=WORKLOAD_GONE)


@retry_while_api_unavailable()
def _not_going(kube: Kube, namespace: str) -> None:
    found = kube.get("Namespace", namespace)
    if found and found["metadata"].get("deletionTimestamp"):
        raise NotYet(still_there(found))
