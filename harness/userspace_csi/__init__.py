"""CSI drivers for Ceph's volumes on kernels without the modules rbd and ceph.

An RBD image is opened by librbd in userspace (`qemu-storage-daemon`), exported as a FUSE file, and made a block device
by a loop device. A subvolume of CephFS is mounted by `ceph-fuse` (package `cephfs`). Both take the StorageClass
parameters and the secrets of ceph-csi, and have names of their own so that nobody takes one for the other.

The package runs inside its image as `python3 -m userspace_csi controller|node`, without anything of the harness. What
it decides stands in modules that need nothing but Python; only `connections`, `images` and `cephfs.ceph` (librados,
librbd), `services` and `registration` (gRPC and the generated stubs) need the image's packages.

https://github.com/container-storage-interface/spec/blob/v1.11.0/spec.md
"""

DRIVER_NAME = "rbd.userspace.csi.rookery.io"
CEPHFS_DRIVER_NAME = "cephfs.userspace.csi.rookery.io"
DRIVER_VERSION = "1"
# How the names of the services begin that serve volumes on a node.
RBD_UNITS, CEPHFS_UNITS = "rookery-rbd", "rookery-cephfs"
