"""The clients of Ceph's mgr are on the blocklist: no volume of CephFS can be made any more.

Somebody fences addresses of a node, and those of the mgr are among them. Its modules are clients of Ceph as anybody
else: `rbd_support` works in images, `volumes` makes subvolumes of CephFS.

Steps: the clients of both modules are blocklisted, and a volume of CephFS is claimed.

Symptom: the claim is Pending, its events say that the volumes module cannot look into its own folder; the mgr's log
says that a client was blocklisted.

Workaround: `ceph mgr fail`, which the module for RBD does not need: it makes itself a new client.

Proof: the claim is Bound, the same object, and `ceph rbd task list` was answered before the workaround.
"""

import time

import pytest
from rookery import Volumes, deployed, faults, minutes, signatures

pytestmark = [pytest.mark.budget(180), pytest.mark.requires(storage="rook")]


@pytest.fixture
def volumes(cluster, cephfs):
    workload = Volumes(cluster.kube, image=cluster.images.ceph, storage_class="rook-cephfs")
    with deployed(workload, cluster, cluster.results):
        yield workload


@pytest.mark.expects("MGR_DOWN")
@pytest.mark.bug("https://github.com/ceph/ceph-csi/issues/6142", symptom=signatures.VOLUMES_MODULE_IS_FENCED)
@pytest.mark.bug("https://github.com/ceph/ceph/pull/49742", symptom=signatures.RBD_SUPPORT_IS_FENCED)
def test_clients_of_the_mgr_are_fenced(cluster, volumes):
    """One module recovers by itself, the other when the mgr is failed over."""
    volumes.claim("before")  # since when the module for CephFS is a client
    of_rbd, of_cephfs = (cluster.rook.mgr_client(module).wait() for module in ("rbd_support", "volumes"))
    fenced = time.time()
    with cluster.fault(faults.ClientBlocklisting(of_rbd)), cluster.fault(faults.ClientBlocklisting(of_cephfs)):  # cause
        claim = volumes.apply_claim("during")
        claim.event(signatures.VOLUMES_MODULE_IS_FENCED).wait()
        cluster.rook.log("mgr", signatures.RBD_SUPPORT_IS_FENCED).since(fenced).wait()
        uid = claim.uid
        cluster.rook.answer_to("ceph", "rbd", "task", "list").wait(within=minutes(2))
        assert not claim.bound.holds()

        cluster.rook.answer_to("ceph", "mgr", "fail").wait()  # workaround
        claim.bound.wait(within=minutes(2))
        assert claim.uid == uid
