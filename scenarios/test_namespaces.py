"""A StorageClass belongs to no namespace: any may use it, and what each has is its own.

It is the set-up of docs/incident.md#the-set-up: `rook-ceph-block` is created once, beside Rook, and used from
`cassandra` and from whatever comes later.

Steps: two namespaces, each with a claim of the same name.

Proof: both claims are Bound, to two volumes and two images, and what is written in one is not seen in the other.
"""

import pytest
from rookery import Files, removed

pytestmark = [pytest.mark.requires(storage="rook"), pytest.mark.budget(120)]


@pytest.fixture
def tenants(cluster):
    """A pod with a claim in each of two namespaces; not deployed yet, and removed at the end."""
    first, second = (
        Files(cluster.kube, image=cluster.images.ceph, storage_class=cluster.storage_class, namespace=name)
        for name in ("first-tenant", "second-tenant")
    )
    with removed(first, cluster, cluster.results), removed(second, cluster, cluster.results):
        yield first, second


def test_one_class_serves_every_namespace(cluster, tenants):
    first, second = tenants
    for files in (first, second):
        files.deploy()
    for files in (first, second):
        files.ready.wait()

    secret = first.write("secret", mebibytes=16)
    assert second.names() == []
    second.write("secret", mebibytes=16)

    assert first.checksum("secret") == secret
    images = {files.claim.volume["spec"]["csi"]["volumeAttributes"]["imageName"] for files in (first, second)}
    assert len(images) == 2
    assert images <= set(cluster.rook.rbd("ls", cluster.rook.spec.pool))
    classes = [files.claim.volume["spec"]["storageClassName"] for files in (first, second)]
    assert classes == ["rook-ceph-block"] * 2
