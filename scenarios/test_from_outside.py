"""Clients outside the cluster write through a LoadBalancer Service, before and after all nodes are killed.

The workload is that of docs/incident.md#the-workload: beside the headless Service, `cassandracl` of type LoadBalancer
publishes port 9042 at an address that MetalLB gives it, and clients know nothing of pods.

Steps: MetalLB in layer 2 mode has a few addresses of the nodes' own network, Cassandra has three volumes. Rows are
written through the Service and nothing else. All nodes are killed under load and started again.

Proof: the Service gets one of these addresses, and this machine reaches it; the headless name resolves to the addresses
of all pods. Afterwards the Service has the same address, rows go through it again, no acknowledged row is missing, and
the headless name resolves to the pods' new addresses.
"""

import pytest
from rookery.errors import Unknown
from rookery.waiting import minutes, wait_for
from steps import judge, power_cycle_under_load

pytestmark = [
    pytest.mark.budget(420),
    pytest.mark.requires("the image of MetalLB", "eight addresses of the nodes' network that nobody has"),
]


@pytest.mark.cassandra(commitlog_sync="batch")
def test_written_through_a_load_balancer(cluster, cassandra, metallb, history, results):
    """Rows go through the same address before and after the node kill."""
    service = cassandra.client_service
    service.create()
    address = wait_for(service.address, what=f"an address for {service.name}", within=minutes(2))
    assert metallb.owns(address)
    results.note(address=address)
    wait_for(lambda: cassandra.connect_through(address), what=f"a client through {address}", within=minutes(2))
    assert cassandra.write(rows=1_000) == 1_000
    before = wait_for(cassandra.dns_names_the_pods, what="DNS to name the pods", within=minutes(1))

    cycle = power_cycle_under_load(cluster, cassandra, history, results)
    cassandra.recovered(within=minutes(5), since=cycle.wall)
    after = wait_for(cassandra.dns_names_the_pods, what="DNS to name the pods", within=minutes(1))
    if before == after:
        raise Unknown(f"the pods came back at the addresses they had: {sorted(after)}")

    with results.phase("reachable from outside again"):
        assert wait_for(service.address, what=f"an address for {service.name}", within=minutes(2)) == address
        wait_for(lambda: cassandra.connect_through(address), what=f"a client through {address}", within=minutes(3))
        assert cassandra.write(rows=1_000) == 1_000
    wait_for(lambda: cassandra.read_all("ALL"), what="every row readable at ALL", within=minutes(2))
    judge(cassandra, history, results)
    outside = {op.node for op in history.history().operations if op.f == "write" and op.type == "ok"}
    assert outside == {address}, f"acknowledged by {sorted(filter(None, outside))}, not only through {address}"
