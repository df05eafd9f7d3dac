"""What is kept of a storage cluster: saved while it works, found again by what it has to agree with, and restored."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from rookery.cluster import snapshots
from rookery.cluster.snapshots import Snapshot, SnapshotKey
from rookery.errors import DeadlineExceeded, StorageFailure, UsageError
from rookery.kube import retry_while_api_unavailable
from rookery.machine.kind import version_of
from rookery.machine.run import CommandFailed
from rookery.paths import state_dir
from rookery.report.results import Results
from rookery.storage import images, recovery
from rookery.storage.continuity import Running
from rookery.waiting import POLL, MilestonesSince, NotYet, all_of, condition, minutes

if TYPE_CHECKING:
    from rookery.storage.cluster import StorageCluster

log = logging.getLogger(__name__)

_OF_A_SCENARIO = "scenario-"  # before the names of snapshots that scenarios make for themselves
RESUMED_WITHIN = 30.0  # after nodes were frozen; healthy within 9 s wherever nothing was wrong
BASELINE_TAKEN = minutes(1)
CHECKS_IN_A_ROW = 5  # what harm there is shows seconds later


class Saved:
    """The snapshots of one cluster."""

    def __init__(self, cluster: StorageCluster) -> None:
        self._cluster = cluster
        self._of_scenarios: set[str] = set()  # names of what scenarios saved
        # What did not go on after the nodes were frozen, of each time that something did not.
        self.harmed: list[str] = []

    def key(self, *, storage: bool) -> SnapshotKey:
        """What a snapshot has to agree with to be used instead of making the nodes, with or without the storage system
        on them; without it nothing of a storage system is asked for."""
        cluster = self._cluster
        system, nodes = cluster.storage, cluster.nodes
        if not system.unaltered:  # after an upgrade: what is kept is of the versions of before
            system = type(system)(system.settings)
            system.origins = cluster.origins
        needed = (images.node_image(cluster.settings), *(system.images if storage else ()))
        return SnapshotKey.of(
            cluster=cluster.settings.cluster_name,
            kubernetes=cluster.settings.kubernetes,
            kind=version_of(nodes.kind_path),
            topology=cluster.topology.config,
            disk_bytes=cluster.settings.disk_bytes,
            images=images.ids(needed),  # no others: saved states outlive another choice of scenarios
            storage={"name": system.name, **system.identity(nodes)} if storage else None,
            state=str(state_dir()),  # nodes mount their /var from there
        )

    def find(self, name: str, *, storage: bool = True) -> Snapshot | None:
        """The snapshot by that name, if there is one that may be used now."""
        return self.key(storage=storage).find(name)

    def kept(self, name: str) -> Snapshot:
        """The snapshot of this cluster by that name; raises `UsageError` if there is none that may be used."""
        own = f"{_OF_A_SCENARIO}{name}"
        snapshot = self.find(own if own in self._of_scenarios else name, storage=self._cluster.storage.deployed)
        if snapshot is None:
            raise UsageError(f"there is no snapshot {name} of this cluster", hint="rookery snapshots")
        return snapshot

    def save_of_scenario(self, name: str) -> None:
        """Keep what the cluster is now until it goes."""
        snapshots.check_name(name)
        results = self._cluster.reporting_to(None)
        full = f"{_OF_A_SCENARIO}{name}"
        path = self.key(storage=self._cluster.storage.deployed).folder / full
        self._cluster.nodes.lease.add("snapshot", path)  # first: it may be there even if what follows fails
        self._of_scenarios.add(full)
        self.save(full, results)

    def save(self, name: str, results: Results) -> Snapshot:
        """Keep what the cluster is now for runs to come.

        With storage deployed, its baseline is kept as well, which `restore` compares with. A cluster that has not taken
        it well (a container was started anew, an OSD was marked down) is restored at once.
        """
        cluster = self._cluster
        if not cluster.storage.deployed:
            with results.phase(f"{name} saved"):
                snapshot = cluster.nodes.save(self.key(storage=False), name)
                cluster.all_healthy.wait(within=recovery.NODES_READY, every=POLL)
            return snapshot
        cluster.storage.require_savable()
        before = self._running.wait()
        facts = {"baseline": cluster.baseline()}
        with results.phase(f"{name} saved"):
            snapshot = cluster.nodes.save(self.key(storage=True), name, facts)
            try:
                self._resumed(before).wait()
                return snapshot
            except DeadlineExceeded as error:
                self.harmed.append(error.reason)
                log.warning("%s; restoring %s as it was saved", error, name)
        try:
            cluster.restore(snapshot, results)
        except (CommandFailed, OSError, DeadlineExceeded, StorageFailure):
            snapshot.remove()  # as of any that does not come back: no later run is to begin with it
            raise
        return snapshot

    def restore(self, snapshot: Snapshot, results: Results) -> float:
        """Restore the nodes, start them, and wait until all is what it was; returns when they started (Unix)."""
        cluster, system = self._cluster, self._cluster.storage
        begin = time.monotonic_ns()
        system.forget()
        with results.phase(f"{snapshot.name} restored"):
            try:
                started = cluster.nodes.restore(snapshot)
            except BaseException:
                self.forget()  # nothing is left of the cluster
                raise
        milestone = results.milestones(begin, "restored: ")
        if "baseline" in snapshot.facts:
            system.found_on(cluster.nodes, results.phase)
            restored = system.restored(snapshot.facts["baseline"])
        else:
            nodes = recovery.nodes_back(cluster.kube, cluster.nodes.node_names)
            restored = all_of("nodes restored", nodes, milestones=True)
        restored.since(MilestonesSince(started, milestone)).wait()
        return started

    def forget(self) -> None:
        """What scenarios saved is gone, with the lease that it is in."""
        self._of_scenarios.clear()

    @condition("what is running before the nodes are frozen", within=RESUMED_WITHIN)
    @retry_while_api_unavailable()
    def _running(self) -> Running:
        """The API and the storage system answer; what is running now."""
        return Running.of(self._cluster.kube.list("Pod"), self._cluster.storage.running())

    @condition("the cluster resumed", within=RESUMED_WITHIN, every=1, times_in_a_row=CHECKS_IN_A_ROW)
    def _resumed(self, before: Running) -> None:
        """All that was running has run on, and the cluster is healthy."""
        if interrupted := before.interrupted(self._running.now()):
            raise NotYet(", ".join(interrupted))
        self._cluster.all_healthy.now()
