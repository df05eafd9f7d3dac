"""Rook and Ceph on a cluster: bring them up, ask Ceph how it is, and know when it has recovered."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

from rookery.kube import Kube, retry_while_api_unavailable
from rookery.kube.conditions import crd_established, not_ready, rollout_done
from rookery.kube.objects import fields_of, value_of
from rookery.rook import manifests, status, toolbox
from rookery.rook.rendering import Rendering
from rookery.rook.status import Health, Mark, Osd, OsdMap, Pg, Quorum
from rookery.waiting import NotYet, minutes, wait_for

Phase = Callable[[str], AbstractContextManager[object]]
"""Reports a phase while its `with` lasts: `with phase("CephCluster Ready"): ...`"""

OPERATOR_READY = minutes(5)
MONS_KNOWN = minutes(5)
CLUSTER_READY = minutes(10)
OSDS_UP = minutes(5)
POOL_READY = minutes(3)
HEALTH_OK = minutes(5)
CRDS_ESTABLISHED = minutes(1)
CLIENT_STARTED = minutes(1)
IMAGE_HELD = minutes(10)  # at most, if nobody ends it

# Each question costs a Python process in the toolbox; asked more often they would slow down what they wait for.
CEPH_POLL = 1.0
ASK_CEPH = Path(__file__).with_name("ask_ceph.py")
MGR_POOL = ".mgr"
OSDS = "app=rook-ceph-osd"
DEVICE_TYPE = "device-type"


def _unreported(_name: str) -> AbstractContextManager[object]:
    return contextlib.nullcontext()


class Rook:
    """Rook with one Ceph cluster, as a `Rendering` has them, on the cluster behind `kube`.

    `guard` is asked whenever something is not there yet while Rook is deployed; it raises if waiting on has no sense.

    The methods that ask Ceph raise `NotYet` while it cannot answer, so they serve as conditions as they are.
    """

    def __init__(
        self,
        kube: Kube,
        rendering: Rendering,
        *,
        phase: Phase = _unreported,
        guard: Callable[[], None] = lambda: None,
    ) -> None:
        self.kube = kube
        self.version = rendering.version
        self.manifests_dir = rendering.manifests_dir
        self.spec = rendering.spec
        self._rendering = rendering
        self._phase = phase
        self._guard = guard

    def deploy(self) -> None:
        """From a bare cluster to HEALTH_OK with every OSD up and the pool Ready.

        Everything that needs no wait is applied at once; each phase has its own deadline. Raises `DeadlineExceeded`
        with what was still missing, `UsageError` when the manifests are not what this version's should be.
        """
        with self._phase("Rook operator Ready"):
            self._apply_operator_and_cluster()
            self._wait(self._operator_ready(), "Rook operator Ready", OPERATOR_READY)
        with self._phase("CephCluster Ready"):
            # Applied any earlier, the toolbox would wait for its Secret in the kubelet's growing intervals.
            self._wait(self._mons_known, "the first mon's address", MONS_KNOWN)
            self.kube.apply(self._rendering.toolbox())
            self._wait(self._cluster_ready, "CephCluster Ready", CLUSTER_READY)
        with self._phase("OSDs up"):
            # Rook looks at a pool whose cluster is not ready only every ten seconds; at a new one, at once.
            self.kube.apply([self._rendering.block_pool()])
            self._wait(self.osds_up, "all OSDs up and in", OSDS_UP, every=CEPH_POLL)
        with self._phase("pool Ready"):
            self._wait(self._pool_ready, "pool Ready", POOL_READY)
        with self._phase("HEALTH_OK"):
            self._wait(self._healthy_and_clean, "HEALTH_OK", HEALTH_OK, every=CEPH_POLL)

    def settle(self) -> None:
        """Do what the operator would do the next time it starts, and wait until that is over.

        Rook 1.18 gives a new OSD's pods a label `device-type` which it does not know any more when it looks at the
        Deployment again, so its next start restarts one OSD after another: seen after every first power cut, a minute
        long. A cluster that is saved should have that behind it.
        """
        osds = self.kube.list("Deployment", namespace=self.spec.namespace, labels=OSDS)
        unsettled = [osd for osd in osds if DEVICE_TYPE in osd["spec"]["template"]["metadata"]["labels"]]
        if not unsettled:
            return
        with self._phase("OSDs settled"):
            before = wait_for(self.mark, what="Ceph's state", within=OSDS_UP)
            for osd in unsettled:
                labels = {"metadata": {"labels": {DEVICE_TYPE: None}}}  # of the pods, and of the Deployment itself
                forget = {**labels, "spec": {"template": labels}}
                self.kube.patch("Deployment", osd["metadata"]["name"], forget, namespace=self.spec.namespace)
            ids = {int(osd["metadata"]["labels"]["ceph-osd-id"]) for osd in unsettled}
            restarted = self._osds_restarted(ids, before.osdmap_epoch)
            self._wait(restarted, "all OSDs up again", OSDS_UP, every=CEPH_POLL)
            clean = self.pgs_active_clean(newer_than=before.osdmap_epoch)
            self._wait(clean, "PGs active+clean", OSDS_UP, every=CEPH_POLL)
            self._wait(self.healthy, "HEALTH_OK", HEALTH_OK, every=CEPH_POLL)

    def ceph(self, *args: str, timeout: float = toolbox.COMMAND_SECONDS) -> Any:
        """What `ceph <args>` answers, parsed; raises `NotYet` while it cannot (see `toolbox.ask`)."""
        return toolbox.ask(self.kube, self.spec.namespace, "ceph", *args, timeout=timeout)

    def ask(self, prefix: str, *, of: Literal["mon", "mgr"] = "mon", **arguments: object) -> Any:
        """What the mons or the mgr answer to a command by its own words, as `ceph` does and for a fourth of its
        processor time: for what is asked over and over. `ceph` itself translates `osd pool ls detail` into these words.
        """
        command = json.dumps({"prefix": prefix, **arguments})
        return toolbox.ask_program(self.kube, self.spec.namespace, ASK_CEPH, of, command)

    def rbd(self, *args: str, timeout: float = toolbox.COMMAND_SECONDS) -> Any:
        """What `rbd <args>` answers, as `ceph` does."""
        return toolbox.ask(self.kube, self.spec.namespace, "rbd", *args, timeout=timeout)

    def rados(self, *args: str, timeout: float = toolbox.COMMAND_SECONDS) -> Any:
        """What `rados <args>` answers, as `ceph` does."""
        return toolbox.ask(self.kube, self.spec.namespace, "rados", *args, timeout=timeout)

    def output_of(self, *command: str, timeout: float = toolbox.COMMAND_SECONDS) -> str:
        """What a command in the toolbox prints that knows no JSON; raises `NotYet` as `ceph` does."""
        return toolbox.output_of(self.kube, self.spec.namespace, *command, timeout=timeout)

    @contextlib.contextmanager
    def watched_by_other_client(self, image: str) -> Iterator[None]:
        """While it lasts, a client outside Kubernetes watches the image (`POOL/IMAGE`), as a writer does.

        That is what a node looks like from elsewhere that Kubernetes has lost and Ceph has not.
        """

        def start() -> Callable[[], object]:
            return toolbox.start(self.kube, self.spec.namespace, "rbd", "watch", image, seconds=IMAGE_HELD)

        end = wait_for(start, what="the toolbox", within=CLIENT_STARTED)

        def held() -> None:
            if not self.watchers(image):
                raise NotYet("nobody watches it")

        try:
            self._wait(held, f"a client to hold {image}", CLIENT_STARTED)
            yield
        finally:
            end()

    def watchers(self, image: str) -> list[str]:
        """The addresses of the clients that have the image (`POOL/IMAGE`) open for writing."""
        return [watcher["address"] for watcher in self.rbd("status", image)["watchers"]]

    def blocklist(self) -> frozenset[str]:
        """The addresses of the clients that the OSDs do not serve any more."""
        return frozenset(self.ask("osd dump")["blocklist"])

    def health(self) -> Health:
        """How Ceph says it is."""
        return Health.parse(self.ask("health", detail="detail"))

    def fsid(self) -> str:
        """The identity of the Ceph cluster: another one means that another cluster was made."""
        return self.ceph("fsid")["fsid"]

    def osd_map(self) -> OsdMap:
        """The OSD map, without the hosts of the OSDs."""
        return OsdMap.parse(self.ask("osd dump"))

    def osds(self) -> tuple[Osd, ...]:
        """All OSDs, each with its host."""
        hosts = status.hosts_of(self.ask("osd tree"))
        return OsdMap.parse(self.ask("osd dump"), hosts).osds

    def pgs(self) -> tuple[Pg, ...]:
        """All placement groups."""
        return status.pgs_of(self.ask("pg dump", of="mgr", dumpcontents=["pgs"]))

    def mons(self) -> Quorum:
        """The mons and their quorum."""
        return Quorum.parse(self.ask("quorum_status"))

    def mark(self) -> Mark:
        """What a recovery is measured against: take it right before the fault."""
        osdmap, quorum = self.osd_map(), self.mons()
        return Mark(osdmap.fsid, frozenset(osd.id for osd in osdmap.osds), osdmap.epoch, quorum.election_epoch)

    def osds_up(self) -> OsdMap:
        """Condition: as many OSDs as there are disks, all up and in."""
        return status.check_osds_up(self.osd_map(), self.spec.osds)

    def osds_up_from_boots_newer_than(self, epoch: int) -> Callable[[], OsdMap]:
        """Condition: all OSDs up and in, each booted after OSD map `epoch` (`Mark.osdmap_epoch`)."""
        return lambda: status.check_osds_up(self.osd_map(), self.spec.osds, booted_after=epoch)

    def pgs_active_clean(self, newer_than: int = 0) -> Callable[[], object]:
        """Condition: all PGs active+clean, by reports newer than OSD map epoch `newer_than`."""
        return lambda: status.check_pgs_clean(self.pgs(), reported_after=newer_than)

    def _osds_restarted(self, ids: Collection[int], epoch: int) -> Callable[[], OsdMap]:
        """Condition: all OSDs up and in, and these by boots after OSD map `epoch`."""

        def condition() -> OsdMap:
            found = self.osds_up()
            if old := [osd.id for osd in found.osds if osd.id in ids and osd.up_from <= epoch]:
                raise NotYet(f"OSDs not restarted yet: {', '.join(map(str, old))}")
            return found

        return condition

    def mons_in_quorum(self, count: int | None = None, *, elected_after: int = 0) -> Callable[[], Quorum]:
        """Condition: `count` mons (all by default) in quorum, by an election after epoch `elected_after`."""
        wanted = self.spec.mons if count is None else count
        return lambda: status.check_quorum(self.mons(), wanted, elected_after=elected_after)

    def healthy(self) -> Health:
        """Condition: HEALTH_OK. Warnings that only say that this kernel needs keys of the old type are muted."""
        health = self.health()
        for check in health.checks:
            if check.code in status.ACCEPTED_WARNINGS and not check.muted:
                self.ceph("health", "mute", check.code, "--sticky")
                raise NotYet(f"muted {check.code}")
        return status.check_health(health)

    def _apply_operator_and_cluster(self) -> None:
        stages = self._rendering.operator_stages()
        for stage in stages:
            self.kube.apply(stage.objects)
            for crd in stage.establish:
                self._wait(crd_established(self.kube, crd), f"CRD {crd} established", CRDS_ESTABLISHED)
        self.kube.apply([self._rendering.ceph_cluster(stages)])

    def _operator_ready(self) -> Callable[[], object]:
        return rollout_done(self.kube, "Deployment", manifests.OPERATOR, self.spec.namespace)

    @retry_while_api_unavailable()
    def _mons_known(self) -> None:
        """The operator has made what the toolbox mounts: the admin's key and the mons' addresses."""
        endpoints = self.kube.get("ConfigMap", "rook-ceph-mon-endpoints", namespace=self.spec.namespace)
        secret = self.kube.get("Secret", "rook-ceph-mon", namespace=self.spec.namespace)
        if secret is None or endpoints is None or not value_of(endpoints, "data", "data"):
            raise NotYet(self._progress(self._ceph_cluster_status()))

    @retry_while_api_unavailable()
    def _cluster_ready(self) -> None:
        """Phase Ready, and Ceph's first status in it, without which Rook would not look at the pool."""
        cluster = self._ceph_cluster_status()
        if cluster.get("phase") != "Ready":
            raise NotYet(self._progress(cluster))
        health = value_of(cluster, "ceph", "health", default="unknown")
        if health not in ("HEALTH_OK", "HEALTH_WARN"):
            raise NotYet(f"Ready, but the operator has seen no usable status of Ceph yet: {health}")

    @retry_while_api_unavailable()
    def _pool_ready(self) -> None:
        pool = self.kube.get("CephBlockPool", self.spec.pool, namespace=self.spec.namespace)
        phase = value_of(pool, "status", "phase", default="not seen by the operator yet")
        if phase != "Ready":
            raise NotYet(f"pool {self.spec.pool}: {phase}")

    def _healthy_and_clean(self) -> None:
        self._finish_mgr_pool()
        self.healthy()
        status.check_pgs_clean(self.pgs())

    def _finish_mgr_pool(self) -> None:
        """Say what the mgr's pool is for, where the mgr did not come to it.

        It makes the pool and then says so. Rook restarts it (to switch modules off) while the first OSDs come up, and
        between the two steps nobody makes up for the second: POOL_APP_NOT_ENABLED stays (1 bring-up of 5 here). The
        workaround is the one of https://github.com/rook/rook/issues/13210.
        """
        for pool in self.ask("osd pool ls", detail="detail"):
            if pool["pool_name"] == MGR_POOL and not pool["application_metadata"]:
                self.ceph("osd", "pool", "application", "enable", MGR_POOL, "mgr")
                raise NotYet(f"pool {MGR_POOL} had no application")

    def _ceph_cluster_status(self) -> dict[str, Any]:
        return fields_of(self.kube.get("CephCluster", self.spec.name, namespace=self.spec.namespace), "status")

    def _progress(self, cluster: Mapping[str, Any]) -> str:
        """What Rook says it is doing, and which pods keep it waiting."""
        reasons = [not_ready(pod) for pod in self.kube.list("Pod", namespace=self.spec.namespace, fields=_UNFINISHED)]
        phase, said = value_of(cluster, "phase", default="no phase yet"), value_of(cluster, "message", default="")
        message = f"{phase}: {said}".strip(": ")
        return "; ".join([message, *filter(None, reasons)])

    def _wait(self, condition: Callable[[], object], what: str, within: float, every: float = 0.5) -> None:
        def guarded() -> None:
            try:
                condition()
            except NotYet:
                self._guard()
                raise

        wait_for(guarded, what=what, within=within, every=every)


_UNFINISHED = "status.phase!=Succeeded,status.phase!=Failed"
