"""The headless Service is gone, and nobody notices until the power goes.

Reproduces: trouble 2 of the operator's diary: everything stops after a power cut, since the seed cannot be looked up.

A StatefulSet's pods have their names through the Service named in its `serviceName`. An operator who wants clients from
outside deletes that Service and makes one of type LoadBalancer instead. Nothing happens: running replicas know each
other's addresses. After a power cut every address is another, and a seed, `cassandra-0.cassandra…`, has no name any
more.

The situation: Cassandra on three volumes, and writes at QUORUM. The act: the headless Service is replaced by
`cassandracl`, every write is still acknowledged, and no replica complains; then the power goes while clients write. The
symptom: the storage comes back, and Cassandra does not; the cluster's DNS answers NXDOMAIN for the seed, and replicas
that were started after that answer say `Seed provider couldn't lookup host`. The workaround: the headless Service,
beside the other one. The proof: a whole ring, and every acknowledged row at QUORUM and at ALL.

The twin does the same with both Services from the start: the same power cut, and nobody has to do anything.

Replicas sync before they acknowledge (`commitlog_sync: batch`), so not one row may be missing.

Needs: nothing but a cluster.
"""

import time

import pytest
from rookery.signatures import SEED_LOOKUP_FAILED
from rookery.waiting import NotYet, minutes
from steps import judge, power_cycle_under_load

pytestmark = pytest.mark.budget(360)


@pytest.mark.core
@pytest.mark.bug("https://github.com/jetstack/navigator/issues/127", symptom=SEED_LOOKUP_FAILED)
@pytest.mark.cassandra(commitlog_sync="batch")
def test_headless_service_removed(cluster, cassandra, dns, history, results):
    """Latent until the power cut, and worked around by defining both Services."""
    seed, *_ = cassandra.spec.seeds
    assert cassandra.write(rows=1_000) == 1_000

    cassandra.client_service.create()
    deleted = time.time()
    cassandra.headless_service.delete()
    dns.no_such_name(seed).wait(within=minutes(1))
    assert cassandra.write(rows=1_000) == 1_000, "a running ring needs no names: this was to go unnoticed"
    with pytest.raises(NotYet, match="no log of cassandra-0"):
        cassandra.log(SEED_LOOKUP_FAILED).since(deleted).now()

    cycle = power_cycle_under_load(cluster, cassandra, history, results)
    dns.no_such_name(seed).wait()
    # A replica that looks for its seed before DNS is back says the same, and that mends itself.
    since_dns_answers = time.time()
    with results.phase("symptom shown"):
        cassandra.log(SEED_LOOKUP_FAILED).since(since_dns_answers).wait(within=minutes(4), every=1.0)

    with results.phase("worked around"):
        cassandra.headless_service.create()
        cassandra.recovered.since(cycle.wall).wait()
    judge(cassandra, history, results)


@pytest.mark.budget(300)
@pytest.mark.cassandra(commitlog_sync="batch")
def test_with_both_services_nothing_happens(cluster, cassandra, history, results):
    """The twin: the power cut alone is not the trouble.

    Reproduces: the diary's workaround, both Services, under the same power cut.
    """
    assert cassandra.write(rows=1_000) == 1_000
    cassandra.client_service.create()

    cycle = power_cycle_under_load(cluster, cassandra, history, results)
    with results.phase("recovered without help"):
        cassandra.recovered.since(cycle.wall).wait()
    judge(cassandra, history, results)
