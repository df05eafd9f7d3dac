"""Clients outside the cluster, through a LoadBalancer Service, and what becomes of them when the power goes.

Reproduces: the workload of the operator's diary: beside the headless Service, `cassandracl` of type LoadBalancer
publishes port 9042 by an address that MetalLB gives it, and clients know nothing of pods.

The situation: MetalLB in layer 2 mode with a few addresses of the nodes' own network; Cassandra on three volumes. The
proof: the Service gets one of these addresses, this machine reaches it, and rows are written through it and nothing
else; the headless name resolves to the addresses of all pods. After a power cut under load the Service has the same
address, rows go through it again, not one that was acknowledged is missing, and the headless name has followed the
pods to their new addresses.

Needs: the images of MetalLB, and eight addresses of the nodes' network that nobody has.
"""

import pytest
from rookery.errors import Unknown
from rookery.waiting import minutes
from steps import judge, power_cycle_under_load

pytestmark = pytest.mark.budget(420)


@pytest.mark.cassandra(commitlog_sync="batch")
def test_written_through_a_load_balancer(cluster, cassandra, metallb, history, results):
    """Before and after a power cut, by the same address."""
    service = cassandra.client_service
    service.create()
    address = service.address.wait()
    assert metallb.owns(address)
    results.note(address=address)
    cassandra.connect_through(address).wait(within=minutes(2))
    assert cassandra.write(rows=1_000) == 1_000
    before = cassandra.dns_names_the_pods.wait()

    cycle = power_cycle_under_load(cluster, cassandra, history, results)
    cassandra.recovered.since(cycle.wall).wait()
    after = cassandra.dns_names_the_pods.wait()
    if before == after:
        raise Unknown(f"the pods came back at the addresses they had: {sorted(after)}")

    with results.phase("reachable from outside again"):
        assert service.address.wait() == address
        cassandra.connect_through(address).wait()
        assert cassandra.write(rows=1_000) == 1_000
    cassandra.read_all("ALL").wait(within=minutes(2))
    judge(cassandra, history, results)
    outside = {op.node for op in history.history().operations if op.f == "write" and op.type == "ok"}
    assert outside == {address}, f"acknowledged by {sorted(filter(None, outside))}, not only through {address}"
