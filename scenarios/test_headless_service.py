"""The headless Service is deleted, and nobody notices until every node restarts.

A StatefulSet's pods have their names through the Service named in its `serviceName`. An operator who wants clients from
outside deletes that Service and creates one of type LoadBalancer instead. Nothing happens: running replicas know each
other's addresses. After a kill of all nodes every address is another, and a seed, `cassandra-0.cassandra…`, cannot be
resolved any more. This is docs/incident.md#everything-stops-after-a-restart.

Steps: Cassandra on three volumes, and writes at QUORUM. The headless Service is replaced by `cassandracl`; every write
is still acknowledged, and no replica complains. All nodes are killed while clients write, and started again.

Symptom: the storage comes back, and Cassandra does not. The cluster's DNS answers NXDOMAIN for the seed, and replicas
that were started after that answer log `Seed provider couldn't lookup host`.

Workaround: the headless Service is created again, beside the other one.

Proof: every replica is up and normal, and every acknowledged row is there at QUORUM and at ALL. Replicas sync before
they acknowledge (`commitlog_sync: batch`), so not one row may be missing. The control does the same with both Services
from the start: the same node kill, and nobody has to do anything.
"""

import time

import pytest
from rookery import NotYet, faults, minutes, signatures, steps

pytestmark = [pytest.mark.requires(storage="rook"), pytest.mark.budget(360)]


@pytest.mark.core
@pytest.mark.bug("https://github.com/jetstack/navigator/issues/127", symptom=signatures.SEED_LOOKUP_FAILED)
@pytest.mark.cassandra(commitlog_sync="batch")
def test_headless_service_removed(cluster, cassandra, cluster_dns):
    """Latent until the node kill, and worked around by defining both Services."""
    seed, *_ = cassandra.spec.seeds
    assert cassandra.write(rows=1_000) == 1_000

    cassandra.client_service.create()
    deletion = faults.ServiceDeletion(cassandra.headless_service)
    with cluster.fault(deletion) as deleted:  # cause
        cluster_dns.no_such_name(seed).wait(within=minutes(1))
        assert cassandra.write(rows=1_000) == 1_000, "a running ring needs no names: this was to go unnoticed"
        with pytest.raises(NotYet, match="no log of cassandra-0"):
            cassandra.log(signatures.SEED_LOOKUP_FAILED).since(deleted).now()

        killed = steps.kill_nodes_under_load(cluster, cassandra)
        cluster_dns.no_such_name(seed).wait()
        # A replica that looks for its seed before DNS is back says the same, and that mends itself.
        since_dns_answers = time.time()
        with cluster.results.phase("symptom shown"):
            cassandra.log(signatures.SEED_LOOKUP_FAILED).since(since_dns_answers).wait(within=minutes(4), every=1.0)

        with cluster.results.phase("worked around"):
            deletion.heal()  # workaround
            cassandra.recovered.since(killed).wait()
    cassandra.check()


@pytest.mark.budget(300)
@pytest.mark.cassandra(commitlog_sync="batch")
def test_with_both_services_nothing_happens(cluster, cassandra):
    """Control: with both Services, the same node kill does no harm."""
    assert cassandra.write(rows=1_000) == 1_000
    cassandra.client_service.create()

    killed = steps.kill_nodes_under_load(cluster, cassandra)
    with cluster.results.phase("recovered without help"):
        cassandra.recovered.since(killed).wait()
    cassandra.check()
