"""How a cluster here is set otherwise than a real one: each value as it is applied, the usual one, and why.

The values are read from what is applied, so that nobody has to keep two lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

from rookery.csi import manifests as csi
from rookery.rook.ceph_cluster import CIPHERS, PERMIT_AES, CephSpec, ceph_cluster

KIND_CONFIG = "default.yaml"
HEAD = """\
# How a cluster here differs from a real one

<!-- Made by `rookery tuning --markdown > docs/tuning.md` of harness/rookery/catalogue/tuning.py: change that. -->

Who writes a scenario of a report has to know which intervals and limits are not those of the cluster that it was
reported of. Nothing here changes what is written before a write is acknowledged, nor how many copies there are.
`rookery tuning` prints this, with `--json` for programs.

Beside these values, all nodes are containers on one machine: one kernel, one clock, one page cache under the disks of
all OSDs. A node kill is no [power loss](node-kill.md). Where the kernel has no rbd, volumes are served by
[drivers in userspace](volumes.md) in place of ceph-csi.
"""


@dataclass(frozen=True)
class Tuned:
    """A setting of a `part` of the cluster: its value here, the `usual` one, and why it is another."""

    part: str
    setting: str
    here: str
    usual: str
    why: str


FASTER_RESTART = "a restarted cluster is there sooner"

# Of kubeadm's and the kubelet's configuration: path in the kind configuration's patches, usual value, why.
KUBERNETES = (
    ("controllerManager.extraArgs.leader-elect", "true", "one control plane: after a kill nobody waits for a lease"),
    ("scheduler.extraArgs.leader-elect", "true", "likewise"),
    (
        "scheduler.extraArgs.pod-max-in-unschedulable-pods-duration",
        "5m",
        "a mon is not Pending for five minutes after its canary (kubernetes/kubernetes#134393, in 1.32 to 1.34)",
    ),
    ("nodeStatusUpdateFrequency", "10s", "a volume is mounted after its node has told that it is in use"),
    ("nodeStatusReportFrequency", "5m", "its default, which would follow the one above"),
    ("volumeStatsAggPeriod", "1m", "how full a volume is, is known sooner"),
)
# Of the CephCluster's spec, likewise.
CEPH_CLUSTER = (
    ("cephVersion.allowUnsupported", "false", "scenarios may ask for a Ceph that Rook does not list"),
    ("skipUpgradeChecks", "false", "a daemon is restarted without asking whether that is safe"),
    ("mgr.count", "2", "one is enough for what is proven, and costs half"),
    ("mgr.allowMultiplePerNode", "false", "where there is one, it says nothing"),
    ("dashboard.ssl", "true", "its certificate is not what is tested"),
    ("crashCollector.disable", "false", "one pod a node less"),
    ("monitoring.enabled", "false", "its default"),
    ("monitoring.metricsDisabled", "false", "no ceph-exporter: one pod a node less"),
    ("priorityClassNames.all", "none", "Ceph's pods are evicted last"),
    ("healthCheck.daemonHealth.mon.interval", "45s", "its default"),
    ("healthCheck.daemonHealth.mon.timeout", "600s", "its default: no node kill is so long that a mon is replaced"),
    ("healthCheck.daemonHealth.status.interval", "60s", "pools and filesystems wait for it"),
    ("healthCheck.startupProbe.mon.probe.initialDelaySeconds", "10", FASTER_RESTART),
    ("healthCheck.startupProbe.mon.probe.periodSeconds", "10", FASTER_RESTART),
    ("healthCheck.startupProbe.mon.probe.failureThreshold", "6", "300 s in all, where a busy machine needs them"),
    ("healthCheck.startupProbe.mgr.probe.initialDelaySeconds", "10", FASTER_RESTART),
    ("healthCheck.startupProbe.mgr.probe.periodSeconds", "10", FASTER_RESTART),
    ("healthCheck.startupProbe.mgr.probe.failureThreshold", "6", "as of mons"),
    ("healthCheck.startupProbe.osd.probe.initialDelaySeconds", "10", FASTER_RESTART),
    ("healthCheck.startupProbe.osd.probe.periodSeconds", "10", FASTER_RESTART),
    ("healthCheck.startupProbe.osd.probe.failureThreshold", "720", "7,200 s in all, as usual"),
)
# Of Ceph's own settings, likewise.
CEPH = (
    ("global.osd_pool_default_size", "3", "as many copies as the default pool has here"),
    ("global.mon_allow_pool_size_one", "false", "scenarios may have a pool of one copy"),
    ("global.mon_warn_on_pool_no_redundancy", "true", "such a pool is no HEALTH_WARN"),
    ("global.mon_data_avail_warn", "30", "the disk is the machine's, and its room is checked before a run"),
    ("global.mon_data_avail_crit", "5", "likewise"),
    ("global.osd_pool_default_pg_autoscale_mode", "on", "a pool has all of its PGs at once: none moves later"),
    ("global.bdev_flock_retry", "3", "a restarted OSD meets the lock of the one before"),
    ("global.bluefs_buffered_io", "true", "what is cached for reading is not in the machine's memory twice"),
    ("global.ms_max_backoff", "15", "mons that boot together find each other sooner"),
    ("global.mgr_stats_period", "5", "how old `active+clean` can be, in seconds"),
    ("osd.osd_memory_target", "4294967296", "several OSDs share one machine's memory"),
    ("osd.osd_pool_default_read_lease_ratio", "0.8", "a PG waits 8 s after peering in place of 16 s"),
    ("osd.osd_mclock_skip_benchmark", "false", "a boot writes no 400 MB to find out how fast a loop device is"),
)
# Of the mons of a new cluster of Ceph 19.2.6, 20.2.4 or later under a Rook before 1.19.9 or 1.20.5, likewise.
# https://docs.ceph.com/en/latest/rados/configuration/auth-config-ref/#emergency-allowed-ciphers
_OLD_KEYS = "this Rook makes AES keys, and waits for ever where mons take AES256K keys alone"
_OLD_CLIENTS = "clients of older Ceph releases, and kernels before 7.0, can use no other"
MONS = (
    ("mon.mon_auth_emergency_allowed_ciphers", "none", f"until the mons have a map: {_OLD_KEYS}"),
    ("mon.mon_auth_allow_insecure_key", "false", "Rook's clients get keys of AES"),
    ("monmap.auth_allowed_ciphers", "aes256k", _OLD_KEYS),
    ("monmap.auth_service_cipher", "aes256k", f"tickets: {_OLD_CLIENTS}"),
    ("monmap.auth_preferred_cipher", "aes256k", f"keys: {_OLD_CLIENTS}"),
)
# Flags of the sidecars of the drivers in userspace, likewise; usual is what Rook gives ceph-csi's.
SIDECAR = "csi-provisioner"
SIDECARS = (
    ("--leader-election", "true", "one replica: after a node kill nobody waits for a lease"),
    ("--retry-interval-start", "500ms", "as Rook gives it"),
    ("--retry-interval-max", "5m", "what failed for a while is tried again soon after it could succeed"),
    ("--timeout", "2m30s", "a call that hangs is given up a little sooner"),
)


def tuned() -> list[Tuned]:
    """Those that differ, by part, in the order in which they are told."""
    spec = CephSpec("the image", {"a node": ["/dev/loop1"], "another": ["/dev/loop2"], "a third": ["/dev/loop3"]})
    cluster = ceph_cluster(spec)["spec"]
    parts: Sequence[tuple[str, Any, Sequence[tuple[str, str, str]]]] = (
        ("Kubernetes (kind configuration `default`)", kubernetes(), KUBERNETES),
        ("CephCluster", cluster, CEPH_CLUSTER),
        ("Ceph", cluster["cephConfig"], CEPH),
        ("mons of Ceph 19.2.6, 20.2.4 or later under a Rook that makes AES keys, such as 1.18", mons(), MONS),
        ("sidecars of the userspace drivers", sidecar_flags(), SIDECARS),
    )
    found = [
        Tuned(part, setting, _text(_at(applied, setting)), usual, why)
        for part, applied, settings in parts
        for setting, usual, why in settings
    ]
    return [each for each in found if each.here != each.usual]


def kubernetes() -> dict[str, Any]:
    """What the default kind configuration has of kubeadm's ClusterConfiguration and of the KubeletConfiguration."""
    text = files("rookery.cluster").joinpath("kind_configs", KIND_CONFIG).read_text(encoding="utf-8")
    found: dict[str, Any] = {}
    for patch in yaml.safe_load(text)["kubeadmConfigPatches"]:
        document = yaml.safe_load(patch)
        found |= {name: value for name, value in document.items() if name not in ("apiVersion", "kind")}
    return found


def mons() -> dict[str, dict[str, str]]:
    """What they have in their ceph.conf, and are told by `ceph mon set` to have in their map."""
    return {"mon": PERMIT_AES, "monmap": CIPHERS}


def sidecar_flags() -> dict[str, str]:
    """The flags of the sidecar that makes volumes, by name."""
    container = next(
        container
        for each in csi.objects()
        if each["kind"] == "Deployment"
        for container in each["spec"]["template"]["spec"]["containers"]
        if container["name"] == SIDECAR
    )
    return dict(flag.split("=", 1) for flag in container["command"] if "=" in flag)


def leaves(applied: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The path of each value in it, as the tables above have them."""
    for name, value in applied.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def page() -> str:
    """docs/tuning.md."""
    found, parts = tuned(), []
    for part in dict.fromkeys(each.part for each in found):
        rows = [f"| `{e.setting}` | {e.here} | {e.usual} | {e.why} |" for e in found if e.part == part]
        head = [
            "",
            f"## {part[:1].upper()}{part[1:]}",
            "",
            "| setting | here | usual | why |",
            "| --- | --- | --- | --- |",
        ]
        parts += [*head, *rows]
    return "\n".join([HEAD.rstrip("\n"), *parts]) + "\n"


def _at(applied: Mapping[str, Any], path: str) -> Any:
    if path in applied:
        return applied[path]
    name, _, rest = path.partition(".")
    return _at(applied[name], rest)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
