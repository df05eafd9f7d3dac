"""A CSI driver for RBD images on kernels without the rbd module.

An image is opened by librbd in userspace (`qemu-storage-daemon`), exported as a FUSE file, and made a block device by a
loop device. It takes the StorageClass parameters and the secrets of ceph-csi, and has a name of its own so that nobody
takes one for the other.

The package runs inside its image as `python3 -m driver controller|node`, without the rest of the harness. What it
decides stands in modules that need nothing but Python; only `images` (librados, librbd), `services` and `registration`
(gRPC and the generated stubs) need the image's packages.

https://github.com/container-storage-interface/spec/blob/v1.11.0/spec.md
"""

DRIVER_NAME = "rbd-fuse.csi.rookery.io"
DRIVER_VERSION = "1"
