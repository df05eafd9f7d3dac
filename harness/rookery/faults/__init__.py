"""Faults: one file each, all of them in `ALL`. docs/faults.md has the list, and says how to write another one."""

from __future__ import annotations

from rookery.faults.address_reuse import AddressReuse
from rookery.faults.ceph_destruction import CephDestruction
from rookery.faults.client_blocklisting import ClientBlocklisting
from rookery.faults.client_eviction import ClientEviction
from rookery.faults.daemon_kill import DaemonKill
from rookery.faults.daemon_pause import DaemonPause
from rookery.faults.daemon_stop import DaemonStop
from rookery.faults.daemons import daemons_of
from rookery.faults.disk_loss import DiskLoss
from rookery.faults.disk_wipe import DiskWipe
from rookery.faults.driver_controller_kill import DriverControllerKill
from rookery.faults.driver_kill import DriverKill
from rookery.faults.driver_pod_delete import DriverPodDelete
from rookery.faults.fault import Fault
from rookery.faults.file_damage import FileDamage
from rookery.faults.foreign_watcher import ForeignWatcher
from rookery.faults.full_ratio import FullRatio
from rookery.faults.kubelet_certificate_expiry import KubeletCertificateExpiry
from rookery.faults.kubelet_restart import KubeletRestart
from rookery.faults.node_kill import NodeKill
from rookery.faults.node_partition import NodePartition
from rookery.faults.node_pause import NodePause
from rookery.faults.out_of_service import OutOfService
from rookery.faults.pod_delete import PodDelete
from rookery.faults.pod_partition import PodPartition
from rookery.faults.pool_quota import PoolQuota
from rookery.faults.registration_socket import RegistrationSocketRemoval
from rookery.faults.replica_damage import ReplicaDamage
from rookery.faults.service_deletion import ServiceDeletion
from rookery.faults.volume_fill import VolumeFill
from rookery.faults.volume_loss import VolumeLoss
from rookery.faults.workload_stop import WorkloadStop
from rookery.faults.wrong_kubelet_dir import WrongKubeletDir

ALL: tuple[type[Fault], ...] = (
    PodDelete,
    AddressReuse,
    DaemonKill,
    DaemonPause,
    DaemonStop,
    NodeKill,
    NodePause,
    NodePartition,
    PodPartition,
    DiskLoss,
    DiskWipe,
    VolumeFill,
    FileDamage,
    VolumeLoss,
    KubeletRestart,
    KubeletCertificateExpiry,
    DriverPodDelete,
    DriverKill,
    DriverControllerKill,
    RegistrationSocketRemoval,
    WrongKubeletDir,
    ForeignWatcher,
    ClientBlocklisting,
    ClientEviction,
    PoolQuota,
    FullRatio,
    ReplicaDamage,
    ServiceDeletion,
    WorkloadStop,
    OutOfService,
    CephDestruction,
)
"""Every fault that there is."""

from rookery.faults.random_faults import Random  # noqa: E402 - draws among all of them

__all__ = [
    "ALL",
    "AddressReuse",
    "CephDestruction",
    "ClientBlocklisting",
    "ClientEviction",
    "DaemonKill",
    "DaemonPause",
    "DaemonStop",
    "DiskLoss",
    "DiskWipe",
    "DriverControllerKill",
    "DriverKill",
    "DriverPodDelete",
    "Fault",
    "FileDamage",
    "ForeignWatcher",
    "FullRatio",
    "KubeletCertificateExpiry",
    "KubeletRestart",
    "NodeKill",
    "NodePartition",
    "NodePause",
    "OutOfService",
    "PodDelete",
    "PodPartition",
    "PoolQuota",
    "Random",
    "RegistrationSocketRemoval",
    "ReplicaDamage",
    "ServiceDeletion",
    "VolumeFill",
    "VolumeLoss",
    "WorkloadStop",
    "WrongKubeletDir",
    "daemons_of",
]
