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
from rookery import Unknown, minutes, steps

pytestmark = [
    pytest.mark.budget(420),
    pytest.mark.requires(
        "the image of MetalLB", "eight addresses of the nodes' network that nobody has", storage="rook"
    ),
]


@pytest.mark.cassandra(commitlog_sync="batch")
def test_written_through_a_load_balancer(cluster, cassandra, metallb):
    """Rows go through the same address before and after the node kill."""
    service = cassandra.client_service
    service.create()
    address = service.address.wait()
    assert metallb.owns(address)
    cluster.results.note(address=address)
    cassandra.connect_through(address).wait(within=minutes(2))
    assert cassandra.write(rows=1_000) == 1_000
    before = cassandra.dns_names_the_pods.wait()

    killed = steps.kill_nodes_under_load(cluster, cassandra)
    cassandra.recovered.since(killed).wait()
    after = cassandra.dns_names_the_pods.wait()
    if before == after:
        raise Unknown(f"the pods came back at the addresses they had: {sorted(after)}")

    with cluster.results.phase("reachable from outside again"):
        assert service.address.wait() == address
        cassandra.connect_through(address).wait()
        assert cassandra.write(rows=1_000) == 1_000
    cassandra.read_all("ALL").wait(within=minutes(2))
    cassandra.check()
    outside = {op.node for op in cluster.history.history().operations if op.f == "write" and op.type == "ok"}
    assert outside == {address}, f"acknowledged by {sorted(filter(None, outside))}, not only through {address}"
