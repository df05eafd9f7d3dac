"""The volume of a database is full, and nobody can make room in it: its pod ends as soon as it has begun.

A database that ran out of room has ended, and cannot start again, since a start writes as well. There is no container
to delete anything from.

Steps: PostgreSQL is stopped while clients write; its volume is filled to the last block; it is started.

Symptom: its log says that there is no space left on the device, each time the kubelet starts it again.

Workaround: the claim is expanded. The filesystem grows on the node, though no container runs there; on ext4 that takes
CAP_SYS_RESOURCE, so the volume is of xfs here.

Proof: the server starts by itself at the next try, in the same pod, with every acknowledged row.
"""

import pytest
from rookery import PostgreSQL, deployed, drivers, faults, minutes, signatures, uses_images

pytestmark = [pytest.mark.budget(240), pytest.mark.requires("the image of PostgreSQL", storage="rook")]


@pytest.fixture
@uses_images(PostgreSQL.kind)
def postgresql_on_xfs(cluster, apply_storage_class, storage_driver, rookery_history, rookery_settings):
    named = apply_storage_class(drivers.storage_class("on-xfs", provisioner=storage_driver.name, fs_type="xfs"))
    image = PostgreSQL.kind.image_of(rookery_settings.workloads["postgresql"])
    record = rookery_history.of_workload("postgresql")
    database = PostgreSQL(cluster.kube, image=image, record=record, results=cluster.results, storage_class=named)
    with deployed(database, cluster, cluster.results):
        yield database


@pytest.mark.bug("https://github.com/CrunchyData/postgres-operator/issues/273", symptom=signatures.DATABASE_VOLUME_FULL)
def test_volume_of_a_database_is_full(cluster, postgresql_on_xfs, cluster_volumes):
    """It goes on once its volume is larger, and nobody has to touch its pod."""
    database, claim = postgresql_on_xfs, postgresql_on_xfs.claim()
    stop = faults.WorkloadStop(database)
    with database.writers() as writers:
        writers.acknowledged(200).wait()
        with cluster.fault(stop) as stopped:
            filler = cluster_volumes.pod("filler", claim)
            faults.VolumeFill(filler.name, namespace=filler.namespace, path=filler.mount).inject(cluster)  # cause
            filler.delete()
    database.close()
    database.log(signatures.DATABASE_VOLUME_FULL).since(stopped).wait()
    database.crashed("postgresql-0", times=2).wait()
    pods = database.pod_addresses()

    with cluster.results.phase("volume expanded"):
        claim.expand("2Gi")  # workaround
        claim.expanded("2Gi").wait()
    database.recovered.since(stopped).wait(within=minutes(2))
    assert database.pod_addresses() == pods
    database.check()
