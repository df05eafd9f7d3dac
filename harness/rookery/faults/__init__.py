"""Faults: one file each, and one line here. docs/faults.md has the list, and says how to write another one."""

from __future__ import annotations

from rookery.faults.daemons import daemons_of, only_daemon
from rookery.faults.fault import Fault

# Each fault, in the order in which it is listed and drawn: its line is all that there is to add.
# isort: off
from rookery.faults.pod_delete import PodDelete as PodDelete
from rookery.faults.address_reuse import AddressReuse as AddressReuse
from rookery.faults.daemon_kill import DaemonKill as DaemonKill
from rookery.faults.daemon_pause import DaemonPause as DaemonPause
from rookery.faults.daemon_stop import DaemonStop as DaemonStop
from rookery.faults.mon_loss import MonLoss as MonLoss
from rookery.faults.node_kill import NodeKill as NodeKill
from rookery.faults.node_pause import NodePause as NodePause
from rookery.faults.node_partition import NodePartition as NodePartition
from rookery.faults.node_deletion import NodeDeletion as NodeDeletion
from rookery.faults.pod_partition import PodPartition as PodPartition
from rookery.faults.disk_loss import DiskLoss as DiskLoss
from rookery.faults.disk_wipe import DiskWipe as DiskWipe
from rookery.faults.volume_fill import VolumeFill as VolumeFill
from rookery.faults.file_damage import FileDamage as FileDamage
from rookery.faults.volume_loss import VolumeLoss as VolumeLoss
from rookery.faults.kubelet_restart import KubeletRestart as KubeletRestart
from rookery.faults.kubelet_certificate_expiry import KubeletCertificateExpiry as KubeletCertificateExpiry
from rookery.faults.driver_pod_delete import DriverPodDelete as DriverPodDelete
from rookery.faults.driver_kill import DriverKill as DriverKill
from rookery.faults.driver_controller_kill import DriverControllerKill as DriverControllerKill
from rookery.faults.driver_controller_stop import DriverControllerStop as DriverControllerStop
from rookery.faults.registration_socket import RegistrationSocketRemoval as RegistrationSocketRemoval
from rookery.faults.wrong_kubelet_dir import WrongKubeletDir as WrongKubeletDir
from rookery.faults.foreign_watcher import ForeignWatcher as ForeignWatcher
from rookery.faults.client_blocklisting import ClientBlocklisting as ClientBlocklisting
from rookery.faults.client_eviction import ClientEviction as ClientEviction
from rookery.faults.pool_quota import PoolQuota as PoolQuota
from rookery.faults.full_ratio import FullRatio as FullRatio
from rookery.faults.replica_damage import ReplicaDamage as ReplicaDamage
from rookery.faults.service_deletion import ServiceDeletion as ServiceDeletion
from rookery.faults.workload_stop import WorkloadStop as WorkloadStop
from rookery.faults.out_of_service import OutOfService as OutOfService
from rookery.faults.ceph_destruction import CephDestruction as CephDestruction
# isort: on

ALL: tuple[type[Fault], ...] = tuple(
    found
    for found in [*globals().values()]
    if isinstance(found, type) and issubclass(found, Fault) and found is not Fault
)
"""Every fault that there is."""

from rookery.faults.random_faults import Random  # noqa: E402 - draws among all of them

__all__ = ["ALL", "Fault", "Random", "daemons_of", "only_daemon", *(each.__name__ for each in ALL)]
