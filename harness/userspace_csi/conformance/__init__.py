"""What is asked of a CSI driver, of whichever; no part of the image.

`model` has each answer, and `plans` random sequences of calls. What makes the calls is the harness's: on a cluster
`rookery.csi.execution`, by pods that it deploys and with kills of nodes, and csi-sanity by `rookery.csi.sanity`. In
tests it is the driver's own code, with Ceph and the nodes faked.
"""
