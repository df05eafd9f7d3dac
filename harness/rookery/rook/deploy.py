"""Rook and Ceph on a cluster: bring them up, ask Ceph how it is, and know when it has recovered."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Literal

from rookery.csi.manifests import MON_ENDPOINTS
from rookery.errors import Unknown, UsageError
from rookery.kube import Kube, retry_while_api_unavailable
from rookery.kube.conditions import crd_established, not_ready, rollout_done
from rookery.kube.objects import Object, fields_of, value_of
from rookery.kube.symptoms import log_shown, seen
from rookery.rook import manifests, status, toolbox
from rookery.rook.ceph_cluster import CIPHERS
from rookery.rook.deployments import app_of, labels_of
from rookery.rook.operator_control import Operator
from rookery.rook.pg_watch import PgWatch
from rookery.rook.rendering import Rendering
from rookery.rook.status import CephBaseline, Health, Osd, OsdMap, Pg, Placed, Quorum
from rookery.signatures import Signature
from rookery.waiting import Condition, NotYet, condition, minutes

Phase = Callable[[str], AbstractContextManager[object]]
"""Reports a phase while its `with` lasts: `with phase("CephCluster Ready"): ...`"""

OPERATOR_READY = minutes(5)
MONS_KNOWN = minutes(5)
CLUSTER_READY = minutes(10)
OSDS_UP = minutes(5)
POOL_READY = minutes(3)
HEALTH_OK = minutes(5)
HEALTH_SHOWN = minutes(2)
CRDS_ESTABLISHED = minutes(1)
CEPH_ANSWERS = minutes(1)
MONS_IN_QUORUM = minutes(2)
PGS_CLEAN = minutes(3)
PARTLY_UPGRADED = minutes(5)

# Each question costs a Python process in the toolbox; asked more often they would slow down what they wait for.
CEPH_POLL = 1.0
BRING_UP_POLL = 0.5
ASK_CEPH = Path(__file__).with_name("ask_ceph.py")
MGR_POOL = ".mgr"
OSDS = labels_of("osd")
DEVICE_TYPE = "device-type"
MON_SECRET = "rook-ceph-mon"  # the cluster's fsid and the keys of its mons and of the admin
ROOK_VERSION = "rook-version"


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
        self.rendering = rendering
        self._phase = phase
        self._guard = guard

    def deploy(self) -> None:
        """From a bare cluster to HEALTH_OK with every OSD up and the pool Ready.

        Everything that needs no wait is applied at once; each phase has its own deadline. Raises `DeadlineExceeded`
        with what was still missing, `UsageError` when the manifests are not what this version's should be.
        """
        with self._phase("Rook operator Ready"):
            self._apply_operator_and_cluster()
            self._wait(self._operator_ready(), OPERATOR_READY)
        with self._phase("CephCluster Ready"):
            # Applied any earlier, the toolbox would wait for its Secret in the kubelet's growing intervals.
            self._wait(self._mons_known)
            self.kube.apply(self.rendering.toolbox())
            if self.spec.permit_aes:
                self._wait(self._aes_preferred)
            self._wait(self.cluster_ready)
        with self._phase("OSDs up"):
            # Rook looks at a pool whose cluster is not ready only every ten seconds; at a new one, at once.
            self.kube.apply([self.rendering.block_pool()])
            self._wait(self.osds_up)
        with self._phase("pool Ready"):
            self._wait(self._pool_ready)
        with self._phase("HEALTH_OK"):
            self._wait(self._healthy_and_clean)

    def wait_for_operator_convergence(self) -> None:
        """Do what the operator would do the next time it starts, and wait until that is over.

        Rook 1.18 gives a new OSD's pods a label `device-type` which it does not know any more when it looks at the
        Deployment again, so its next start restarts one OSD after another: seen after every first node kill, a minute
        long. A cluster that is saved should have that behind it.
        """
        osds = self.kube.list("Deployment", namespace=self.spec.namespace, labels=OSDS)
        unconverged = [osd for osd in osds if DEVICE_TYPE in osd["spec"]["template"]["metadata"]["labels"]]
        if not unconverged:
            return
        with self._phase("OSDs converged"):
            before = self.baseline.wait(within=OSDS_UP)
            for osd in unconverged:
                labels = {"metadata": {"labels": {DEVICE_TYPE: None}}}  # of the pods, and of the Deployment itself
                forget = {**labels, "spec": {"template": labels}}
                self.kube.patch("Deployment", osd["metadata"]["name"], forget, namespace=self.spec.namespace)
            ids = {int(osd["metadata"]["labels"]["ceph-osd-id"]) for osd in unconverged}
            self._wait(self._osds_restarted(ids, before.osdmap_epoch), OSDS_UP)
            self._wait(self.pgs_active_clean(newer_than=before.osdmap_epoch), OSDS_UP)
            self._wait(self.healthy)

    @property
    def operator(self) -> Operator:
        """Rook's operator, which may be stopped for a while."""
        return Operator(self.kube, self.spec.namespace)

    def daemons(self) -> list[Object]:
        """The Deployments of Ceph's daemons."""
        namespace = self.spec.namespace
        return self.kube.list("Deployment", namespace=namespace, labels=f"rook_cluster={namespace}")

    @condition("an upgrade to {version} half done", within=PARTLY_UPGRADED, every=CEPH_POLL)
    @retry_while_api_unavailable()
    def partly_at(self, version: str, daemon: str = "") -> list[str]:
        """Some daemons' Deployments are of Rook `version`, and others not yet; the names of the former.

        With a `daemon` ("mon", "mgr", "osd") one of that kind is among the former; raises `UsageError` where there is
        none of that kind. Raises `Unknown` if all of them are: what a scenario does then is not in the middle of an
        upgrade.
        """
        found = self.daemons()
        done = [each for each in found if value_of(each, "metadata", "labels", ROOK_VERSION) == f"v{version}"]
        if daemon and not any(_is_of(each, daemon) for each in found):
            raise UsageError(f"this cluster has no {daemon}", hint="mon, mgr, osd or mds")
        if not done:
            raise NotYet(f"none of {len(found)} daemons is at {version}")
        if len(done) == len(found):
            raise Unknown(f"all {len(found)} daemons were at {version} before anybody looked")
        if daemon and not any(_is_of(each, daemon) for each in done):
            raise NotYet(f"no {daemon} is at {version}")
        return [each["metadata"]["name"] for each in done]

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

    def answer_to(self, *command: str) -> Condition[str]:
        """Ceph does what a command in the toolbox tells it; what the command prints."""
        return Condition(
            f"an answer to {' '.join(command)}", partial(self.output_of, *command), within=CEPH_ANSWERS, every=CEPH_POLL
        )

    def refuses(self, signature: Signature, *command: str) -> Condition[str]:
        """Ceph refuses a command in the toolbox in those words."""

        def ask() -> str:
            try:
                self.output_of(*command)
            except NotYet as refusal:
                if line := signature.line_in(str(refusal)):
                    return seen(signature, line)
                raise
            raise NotYet(f"Ceph took {' '.join(command)}")

        return Condition(f"{' '.join(command)} refused with {signature.text!r}", ask, within=CEPH_ANSWERS)

    def log(self, daemon: str, signature: Signature) -> Condition[str]:
        """The log of a daemon ("mon", "osd", "mgr", "operator") says it; its value is the line that does."""
        container = manifests.OPERATOR if daemon == "operator" else daemon
        labels = labels_of(daemon)
        return log_shown(self.kube, self.spec.namespace, signature, labels=labels, container=container)

    @condition("the clients of image {image}", within=CEPH_ANSWERS)
    def watchers(self, image: str) -> list[str]:
        """The addresses of the clients that have the image (`POOL/IMAGE`) open for writing."""
        return [watcher["address"] for watcher in self.rbd("status", image)["watchers"]]

    @condition("the object at the start of image {image}", within=CEPH_ANSWERS)
    def first_object(self, image: str) -> str:
        """The name of the object that has the first 4 MiB of an image (`POOL/IMAGE`)."""
        return f"{self.rbd('info', image)['block_name_prefix']}.{0:016x}"

    @condition("where the object {name} is", within=CEPH_ANSWERS)
    def placed(self, pool: str, name: str) -> Placed:
        """The placement group of an object, and the OSDs that have it, the primary first."""
        found = self.ask("osd map", pool=pool, object=name)
        return Placed(found["pgid"], tuple(found["acting"]))

    @condition("the client of the mgr's module {module}", within=CEPH_ANSWERS, every=CEPH_POLL)
    def mgr_client(self, module: str) -> str:
        """The address by which a module of the active mgr ("rbd_support", "volumes") is a client of the OSDs."""
        clients = self.ask("mgr dump")["active_clients"]
        found = [each for each in clients if each["name"] == module and each["addrvec"]]
        if not found:
            raise NotYet(f"the mgr has clients for {', '.join(each['name'] for each in clients) or 'no module'}")
        address = found[-1]["addrvec"][0]
        return f"{address['addr']}/{address['nonce']}"

    @condition("Ceph's blocklist", within=CEPH_ANSWERS, every=CEPH_POLL)
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

    def watch_pgs(self) -> PgWatch:
        """`with cluster.rook.watch_pgs() as watched:` sees how long each PG is not active meanwhile."""
        return PgWatch(self.pgs)

    def mons(self) -> Quorum:
        """The mons and their quorum."""
        return Quorum.parse(self.ask("quorum_status"))

    @condition("Ceph's state", within=CEPH_ANSWERS)
    def baseline(self) -> CephBaseline:
        """What a recovery is measured against: take it right before the fault."""
        osdmap, quorum = self.osd_map(), self.mons()
        return CephBaseline(osdmap.fsid, frozenset(osd.id for osd in osdmap.osds), osdmap.epoch, quorum.election_epoch)

    @condition("OSDs up", within=OSDS_UP, every=CEPH_POLL)
    def osds_up(self) -> OsdMap:
        """As many OSDs as there are disks, all up and in."""
        return status.check_osds_up(self.osd_map(), self.spec.osds)

    @condition("OSDs up from new boots", within=OSDS_UP, every=CEPH_POLL)
    def osds_up_from_boots_newer_than(self, epoch: int) -> OsdMap:
        """All OSDs up and in, each booted after OSD map `epoch` (`CephBaseline.osdmap_epoch`)."""
        return status.check_osds_up(self.osd_map(), self.spec.osds, booted_after=epoch)

    def pgs_active_clean(self, newer_than: int = 0) -> Condition[Sequence[Pg]]:
        """All PGs active+clean, by reports newer than OSD map epoch `newer_than`."""

        def ask() -> Sequence[Pg]:
            return status.check_pgs_clean(self.pgs(), reported_after=newer_than)

        return Condition("PGs active+clean", ask, within=PGS_CLEAN, every=CEPH_POLL)

    @condition("OSDs up again", within=OSDS_UP, every=CEPH_POLL)
    def _osds_restarted(self, ids: Collection[int], epoch: int) -> OsdMap:
        """All OSDs up and in, and these by boots after OSD map `epoch`."""
        found = self.osds_up.now()
        if old := [osd.id for osd in found.osds if osd.id in ids and osd.up_from <= epoch]:
            raise NotYet(f"OSDs not restarted yet: {', '.join(map(str, old))}")
        return found

    def mons_in_quorum(self, count: int | None = None, *, elected_after: int = 0) -> Condition[Quorum]:
        """`count` mons (all by default) in quorum, by an election after epoch `elected_after`."""
        wanted = self.spec.mons if count is None else count

        def ask() -> Quorum:
            return status.check_quorum(self.mons(), wanted, elected_after=elected_after)

        return Condition("mons in quorum", ask, within=MONS_IN_QUORUM, every=CEPH_POLL)

    def has_health_check(self, code: str | Signature) -> Condition[str]:
        """That check ("OSD_NEARFULL") is in Ceph's health, in a signature's words; its value is the summary."""
        wanted, signature = (code, None) if isinstance(code, str) else (code.of, code)

        def ask() -> str:
            found = self.health()
            for check in found.checks:
                if check.code != wanted:
                    continue
                if signature is None:
                    return check.summary
                if line := signature.line_in(check.summary):
                    return seen(signature, line)
            raise NotYet(str(found))

        return Condition(f"Ceph to say {wanted}", ask, within=HEALTH_SHOWN)

    @condition("a quorum without mon {mon}", within=MONS_IN_QUORUM, every=CEPH_POLL)
    def quorum_without(self, mon: str) -> Quorum:
        """There is a quorum, and that mon is not in it."""
        quorum = self.mons()
        if mon in quorum.names:
            raise NotYet(f"mons in quorum: {', '.join(quorum.names)}")
        return quorum

    @condition("HEALTH_OK", within=HEALTH_OK, every=CEPH_POLL)
    def healthy(self) -> Health:
        """HEALTH_OK. Warnings that only say that this kernel needs AES keys are muted."""
        health = self.health()
        self._mute_accepted(health)
        return status.check_health(health)

    def _mute_accepted(self, health: Health) -> None:
        for check in health.checks:
            if check.code in status.ACCEPTED_WARNINGS and not check.muted:
                self.ceph("health", "mute", check.code, "--sticky")
                raise NotYet(f"muted {check.code}")

    def _apply_operator_and_cluster(self) -> None:
        stages = self.rendering.operator_stages()
        for stage in stages:
            self.kube.apply(stage.objects)
            for crd in stage.establish:
                self._wait(crd_established(self.kube, crd), CRDS_ESTABLISHED)
        self.kube.apply([*self.rendering.config_override(), self.rendering.ceph_cluster(stages)])

    def _operator_ready(self) -> Condition[dict[str, Any]]:
        return rollout_done(self.kube, "Deployment", manifests.OPERATOR, self.spec.namespace)

    @condition("the first mon's address", within=MONS_KNOWN)
    @retry_while_api_unavailable()
    def _mons_known(self) -> None:
        """The operator has made what the toolbox mounts: the admin's key and the mons' addresses."""
        endpoints = self.kube.get("ConfigMap", MON_ENDPOINTS, namespace=self.spec.namespace)
        secret = self.kube.get("Secret", MON_SECRET, namespace=self.spec.namespace)
        if secret is None or endpoints is None or not value_of(endpoints, "data", "data"):
            raise NotYet(self._progress(self._ceph_cluster_status()))

    @condition("AES keys as the preferred ones", within=CLUSTER_READY, every=CEPH_POLL)
    def _aes_preferred(self) -> None:
        """The first mon takes and makes AES keys: before Rook, which waits for all mons, makes those of its clients."""
        for name, value in CIPHERS.items():
            self.output_of("ceph", "mon", "set", name, value)

    @condition("CephCluster Ready", within=CLUSTER_READY)
    @retry_while_api_unavailable()
    def cluster_ready(self) -> None:
        """Phase Ready, and Ceph's first status in it, without which Rook would not look at the pool."""
        cluster = self._ceph_cluster_status()
        if cluster.get("phase") != "Ready":
            raise NotYet(self._progress(cluster))
        health = value_of(cluster, "ceph", "health", default="unknown")
        if health == "HEALTH_ERR":  # also what a Ceph that was upgraded makes of its daemons' AES keys
            self._mute_accepted(self.health())
        if health not in ("HEALTH_OK", "HEALTH_WARN"):
            raise NotYet(f"Ready, but the operator has seen no usable status of Ceph yet: {health}")

    @condition("pool {self.spec.pool} Ready", within=POOL_READY)
    @retry_while_api_unavailable()
    def _pool_ready(self) -> None:
        pool = self.kube.get("CephBlockPool", self.spec.pool, namespace=self.spec.namespace)
        phase = value_of(pool, "status", "phase", default="not seen by the operator yet")
        if phase != "Ready":
            raise NotYet(f"pool {self.spec.pool}: {phase}")

    @condition("HEALTH_OK", within=HEALTH_OK, every=CEPH_POLL)
    def _healthy_and_clean(self) -> None:
        self._finish_mgr_pool()
        self.healthy.now()
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
        phase, text = value_of(cluster, "phase", default="no phase yet"), value_of(cluster, "message", default="")
        message = f"{phase}: {text}".strip(": ")
        return "; ".join([message, *filter(None, reasons)])

    def _wait(self, awaited: Condition[Any], within: float | None = None) -> None:
        """Wait for it, and end at once when the guard says that it will not come."""

        def guarded() -> None:
            try:
                awaited.now()
            except NotYet:
                self._guard()
                raise

        Condition(awaited.name, guarded, within=awaited.within, every=max(awaited.every, BRING_UP_POLL)).wait(within)


_UNFINISHED = "status.phase!=Succeeded,status.phase!=Failed"


def _is_of(deployment: Object, daemon: str) -> bool:
    return bool(value_of(deployment, "metadata", "labels", "app") == app_of(daemon))
