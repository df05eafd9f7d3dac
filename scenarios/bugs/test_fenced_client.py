"""A client that Ceph has fenced leaves a pod Running and Ready on a filesystem that takes no write.

A node was cut off for a moment and its client was put on Ceph's blocklist, by an operator, a driver or Ceph itself. The
filesystem ends its journal at the first error and is read-only from then on. Kubernetes is not told.

Steps: the client of a volume is put on the blocklist; later it is taken off.

Symptom: writes are refused as on a read-only filesystem, also when the client is off the list again; the pod is Ready
and was not restarted.

Workaround: the pod is deleted and made anew, on the same node as well.

Proof: what had been synced has its checksum, and the new pod writes.
"""

import pytest
from rookery import faults, signatures

pytestmark = [pytest.mark.budget(150), pytest.mark.requires(storage="rook")]


@pytest.mark.bug("https://github.com/ceph/ceph-csi/issues/4712", symptom=signatures.READ_ONLY_FILESYSTEM)
def test_filesystem_of_a_fenced_client(cluster, cluster_volumes):
    """It stays read-only when the fence is gone, until it is mounted anew."""
    claim = cluster_volumes.claim("data")
    pod = cluster_volumes.pod("writer", claim)
    # What a new file needs of the filesystem is in memory then; where it is not, a write ends with EIO, and no journal.
    before, node = pod.write("before", mebibytes=16), pod.node
    (client,) = cluster.rook.watchers(claim.image).wait()

    refused = pod.write_refused(signatures.READ_ONLY_FILESYSTEM)
    with cluster.fault(faults.ClientBlocklisting(client)):  # cause
        refused.wait()
    assert client not in cluster.rook.blocklist.wait()
    refused.stays(10)
    assert pod.ready.holds()
    assert pod.restarts == 0

    pod.delete()  # workaround
    pod = cluster_volumes.pod("writer", claim, node=node)  # workaround
    after = pod.write("after", mebibytes=16)
    assert (pod.checksum("before"), pod.checksum("after")) == (before, after)
