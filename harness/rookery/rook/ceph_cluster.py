"""Our own CephCluster and pool, from a dataclass: small, quick to come up, and true to its disks."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rookery.errors import UsageError

Object = dict[str, Any]

NAMESPACE = "rook-ceph"

# What makes a cluster come back sooner after a node kill and leaves durability alone: nothing here changes what is
# written before a write is acknowledged, nor how many copies there are.
RECOVERY_GLOBAL = {
    # A daemon that finds its peer's address dead tries again after twice the time before, up to this; the default of
    # 15 s makes mons that boot together find each other late.
    "ms_max_backoff": "2",
    # OSDs tell the mgr how their PGs are this often (5 s by default), so this is how old "active+clean" can be.
    "mgr_stats_period": "2",
}
RECOVERY_OSD = {
    # After peering a PG waits until every read lease of its last interval has surely run out: this times the
    # heartbeat grace of 20 s, so 8 s instead of 16. Leases guard reads from a primary that was replaced; a shorter one
    # is only renewed more often. https://docs.ceph.com/en/squid/dev/osd_internals/stale_read/
    "osd_pool_default_read_lease_ratio": "0.4",
    # Without a recorded capacity every boot of an OSD begins with a benchmark (400 MB written to its disk, several
    # seconds on two cores). On a loop device its result is beyond what Ceph believes of a rotating disk, so it is
    # thrown away and made again at the next boot. https://docs.ceph.com/en/reef/rados/configuration/mclock-config-ref/
    "osd_mclock_skip_benchmark": "true",
}

CONFIG_OVERRIDE = "rook-config-override"  # Rook's own name for it
PERMIT_AES = {
    "mon_auth_emergency_allowed_ciphers": "aes, aes256k",
    "mon_auth_allow_insecure_key": "true",
}
# As the mons of a cluster have them that was upgraded: `ceph mon set NAME VALUE`. Clients of older Ceph releases, and
# kernels before 7.0, can use neither keys nor tickets of AES256K.
CIPHERS = {
    "auth_allowed_ciphers": "aes,aes256k",
    "auth_service_cipher": "aes",
    "auth_preferred_cipher": "aes",
}

# A mon's Service has no endpoint until the mon is Ready, which its startup probe decides. Rook's first probe comes
# after 10 s, then every 10 s: so long each mon is unreachable, at the first start, where they come one by one, and
# after every node kill. Rook waits for the mgr to be Ready before it goes on to the OSDs.
# An OSD is up long before: there the probe only decides when its pod is Ready.
_PROBE_PERIOD = 2
_STARTUP_TIMEOUT = 300  # seconds until a daemon that does not start is killed; Rook's 60 are short for a busy machine
_OSD_STARTUP_TIMEOUT = 7200  # Rook's own


@dataclass(frozen=True)
class CephSpec:
    """The Ceph cluster to make.

    `disks` names the devices ("/dev/loop3") of each Kubernetes node, one OSD each. `built` is for an image made of the
    distribution's packages instead of the vendor's: it lacks and misplaces some things. `permit_aes` is for mons that
    would take AES256K keys alone under a Rook that makes AES keys (see `versions.must_permit_aes`).
    """

    image: str
    disks: Mapping[str, Sequence[str]]
    mons: int = 3
    built: bool = False
    name: str = "rook-ceph"
    namespace: str = NAMESPACE
    pool: str = "replicapool"
    pool_size: int = 3
    osd_memory_bytes: int = 896 << 20
    permit_aes: bool = False

    def __post_init__(self) -> None:
        devices = [device for node in self.disks.values() for device in node]
        if not devices:
            raise UsageError(
                "a Ceph cluster needs at least one disk", hint="a worker with a disk: --kind-workers 1 or more"
            )
        if len(set(devices)) != len(devices):
            raise UsageError(f"a disk is given to two nodes: {', '.join(sorted(devices))}", hint="one for each")
        if self.mons < 1 or self.mons % 2 == 0:
            raise UsageError(f"{self.mons} mons: no quorum of a majority", hint="an odd number, such as 1 or 3")
        if not 1 <= self.pool_size <= len(self.disks):
            raise UsageError(
                f"a pool of size {self.pool_size} cannot be spread over {len(self.disks)} nodes with disks",
                hint="give more nodes a disk, or make the pool smaller",
            )

    @property
    def osds(self) -> int:
        """How many OSDs there will be."""
        return sum(len(devices) for devices in self.disks.values())


def ceph_cluster(spec: CephSpec, *, csi_key_type: bool = False) -> Object:
    """The CephCluster for `spec`.

    `csi_key_type`: whether this Rook lets the type of the CSI clients' keys be chosen (see `crd_has_field`). Then they
    must stay AES keys, which kernels before 7.0 need: Rook's own test cluster says so.
    """
    cluster_spec: Object = {
        "cephVersion": {"image": spec.image, "allowUnsupported": True},
        "dataDirHostPath": "/var/lib/rook",
        "skipUpgradeChecks": True,
        # One mon a node where there are nodes enough: otherwise two may land on one, and its node kill takes both.
        "mon": {"count": spec.mons, "allowMultiplePerNode": len(spec.disks) < spec.mons},
        "mgr": {"count": 1, "allowMultiplePerNode": True, "modules": _mgr_modules(spec)},
        "dashboard": {"enabled": True, "ssl": False},
        "crashCollector": {"disable": True},
        # No ceph-exporter in a built image; in a vendor's it is one more pod a node that no scenario reads.
        "monitoring": {"enabled": False, "metricsDisabled": True},
        "priorityClassNames": {"all": "system-node-critical"},
        "healthCheck": _health_check(),
        "cephConfig": _ceph_config(spec),
        "storage": _storage(spec),
    }
    if csi_key_type:
        cluster_spec["security"] = {"cephx": {"csi": {"keyType": "aes"}}}
    return _object("CephCluster", spec.name, spec.namespace, cluster_spec)


def config_override(spec: CephSpec) -> list[Object]:
    """The ConfigMap of lines for every ceph.conf, which the mons have before Rook can say anything to them.

    Nobody could speak to mons that take AES256K keys alone with the key that this Rook has made for the admin. The mons
    call the first setting one for emergencies; what else they take is in their map, once there is one (`CIPHERS`).
    https://rook.io/docs/rook/v1.18/Storage-Configuration/Advanced/ceph-configuration/#custom-ceph-conf-settings
    """
    if not spec.permit_aes:
        return []
    lines = [f"{name} = {value}" for name, value in PERMIT_AES.items()]
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": CONFIG_OVERRIDE, "namespace": spec.namespace},
            "data": {"config": "\n".join(["[mon]", *lines, ""])},
        }
    ]


def block_pool(spec: CephSpec) -> Object:
    """The replicated pool for volumes, its copies on different hosts."""
    replicated: Object = {"size": spec.pool_size}
    if spec.pool_size == 1:
        replicated["requireSafeReplicaSize"] = False
    return _object("CephBlockPool", spec.pool, spec.namespace, {"failureDomain": "host", "replicated": replicated})


def _mgr_modules(spec: CephSpec) -> list[Object]:
    # `restful` is on by default up to Ceph 18, and Debian's cannot be loaded, which is a HEALTH_WARN.
    names = ["rook", "restful"] if spec.built else ["rook"]
    return [{"name": name, "enabled": False} for name in names]


def _health_check() -> Object:

    def startup(patience: int) -> Object:
        return {
            "probe": {
                "initialDelaySeconds": 2,  # 0 would mean Rook's default
                "periodSeconds": _PROBE_PERIOD,
                "failureThreshold": patience // _PROBE_PERIOD,
            }
        }

    return {
        "daemonHealth": {
            # Long enough that no node kill makes Rook replace a mon, which would change what recovers.
            "mon": {"interval": "45s", "timeout": "600s"},
            # Pools and file systems wait for this status; Rook's minute between two is most of what they would take.
            "status": {"interval": "15s"},
        },
        "startupProbe": {
            "mon": startup(_STARTUP_TIMEOUT),
            "mgr": startup(_STARTUP_TIMEOUT),
            "osd": startup(_OSD_STARTUP_TIMEOUT),
        },
    }


def _ceph_config(spec: CephSpec) -> dict[str, dict[str, str]]:
    settings = {
        "global": {
            "osd_pool_default_size": str(spec.pool_size),
            "mon_allow_pool_size_one": "true",
            "mon_warn_on_pool_no_redundancy": "false",
            # Of the machine's disk, whose room is checked before a run (machine/capacity.py), once the mons run.
            "mon_data_avail_warn": "3",
            "mon_data_avail_crit": "2",
            # A pool is made with all of its PGs. The autoscaler makes it with one, finds within a minute that it is to
            # have 32, and moves those to their own OSDs one after another, two seconds each: no PG would be where it
            # was for the first two minutes, under whatever fault there is then. A PG that is moved forgets for how long
            # it has not heard of a client that watches an image (PrimaryLogPG::populate_obc_watchers), so that of a
            # killed one was held for twice its 30 s.
            "osd_pool_default_pg_autoscale_mode": "off",
            "bdev_flock_retry": "20",  # a restarted OSD may meet its predecessor's lock on the device
            "bluefs_buffered_io": "false",
            **RECOVERY_GLOBAL,
        },
        "osd": {"osd_memory_target": str(spec.osd_memory_bytes), **RECOVERY_OSD},
    }
    if spec.built:
        # Debian compiles a relative path in; without this the RBD class is missing: (95) Operation not supported.
        settings["osd"]["osd_class_dir"] = f"/usr/lib/{platform.machine()}-linux-gnu/rados-classes"
    return settings


def _storage(spec: CephSpec) -> Object:
    nodes = [
        {"name": node, "devices": [{"name": device} for device in devices]} for node, devices in spec.disks.items()
    ]
    return {"useAllNodes": False, "useAllDevices": False, "allowDeviceClassUpdate": True, "nodes": nodes}


def _object(kind: str, name: str, namespace: str, spec: Object) -> Object:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "ceph.rook.io/v1", "kind": kind, "metadata": metadata, "spec": spec}
