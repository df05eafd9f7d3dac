"""CephFS: a volume is a subvolume of a filesystem, with a quota for its size, and a node mounts it by `ceph-fuse`.

The controller's part goes through the mgr's module `volumes`, a node's part through the filesystem itself.

https://docs.ceph.com/en/reef/cephfs/fs-volumes/
"""
