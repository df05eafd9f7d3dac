"""What a scenario says of Ceph: pools, filesystems, what is used, its disks, its dashboard. Exported as `ceph`."""

from rookery.rook.ceph_cluster import ceph_cluster
from rookery.rook.dashboard import USER, Dashboard, DashboardPage, DashboardStatus
from rookery.rook.deleted_cluster import DeletedCluster
from rookery.rook.deployments import app_of, labels_of
from rookery.rook.disks import OsdDisks
from rookery.rook.filesystems import Filesystem, Filesystems
from rookery.rook.manifests import load
from rookery.rook.mds import MdsWatch
from rookery.rook.mon_failover import MonFailover
from rookery.rook.mon_quorum import MonQuorum
from rookery.rook.mon_secret import MonSecret
from rookery.rook.pools import BlockPool, ErasureCode, Pool, Pools
from rookery.rook.usage import names_of_lspools, osds_of_status, pools_of_df, require_near, used_by_rados_df

__all__ = [
    "USER",
    "BlockPool",
    "Dashboard",
    "DashboardPage",
    "DashboardStatus",
    "DeletedCluster",
    "ErasureCode",
    "Filesystem",
    "Filesystems",
    "MdsWatch",
    "MonFailover",
    "MonQuorum",
    "MonSecret",
    "OsdDisks",
    "Pool",
    "Pools",
    "app_of",
    "ceph_cluster",
    "labels_of",
    "load",
    "names_of_lspools",
    "osds_of_status",
    "pools_of_df",
    "require_near",
    "used_by_rados_df",
]
