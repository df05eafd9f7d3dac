"""The CSI drivers that a run may ask for, by the names that settings and reports have for them."""

DRIVERS = ("auto", "ceph-csi", "userspace")
