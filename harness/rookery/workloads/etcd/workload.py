"""etcd as a scenario uses it: what is special about it, beside `workloads.workload`.

A put is acknowledged when a quorum of members has it in its log and has synced that, so not one may be lost, not even
when all members die at once (https://etcd.io/docs/v3.5/learning/api_guarantees/, durability).
"""

from __future__ import annotations

from rookery.errors import InfrastructureError
from rookery.history.recorder import Recorder
from rookery.kube import Kube
from rookery.report.results import Results
from rookery.signatures import ShownBy, Signature
from rookery.waiting import Condition, NotYet
from rookery.workloads.etcd import KIND
from rookery.workloads.etcd.client import LONGEST_WRITE, Client
from rookery.workloads.etcd.manifests import EtcdSpec
from rookery.workloads.workload import Workload

# A member has found its data, and goes on as who it was. One that finds none says `starting local member`.
RESTARTED = Signature(
    text="restarting local member",
    shown_by=ShownBy.LOG,
    of="container etcd",
    source="https://github.com/etcd-io/etcd/blob/v3.5.16/server/etcdserver/raft.go",
)


class Etcd(Workload[Client]):
    """A StatefulSet of three members, each on a volume of its own, and the client that writes to it."""

    kind = KIND
    threads = 8
    rows_per_second = 300.0  # more than volumes take as a rule, so that some are always on their way
    longest_write = LONGEST_WRITE
    rpo_seconds = 0.0

    def __init__(
        self,
        kube: Kube,
        *,
        image: str,
        record: Recorder,
        results: Results | None = None,
        namespace: str = "etcd",
        storage_class: str,
        table: str | None = None,
    ) -> None:
        self.spec = EtcdSpec(image, storage_class, namespace)
        super().__init__(kube, self.spec, image=image, record=record, results=results, table=table)

    @property
    def restarted(self) -> Condition[str]:
        """A member has found its data, and goes on as who it was."""
        return self.log(RESTARTED)

    def _connect(self) -> Client:
        addresses = self.pod_addresses()
        if len(addresses) != self.spec.replicas:
            raise NotYet(f"{len(addresses)} of {self.spec.replicas} members have an address")
        client = Client(addresses, table=self.table, record=self._record)
        try:
            client.ping()
        except BaseException:
            client.close()
            raise
        return client

    def _make_table(self) -> None:
        """A table is what keys begin with: there is nothing to make."""

    def _prove_durable(self) -> None:
        """Condition: every member has synced its log for a put that was acknowledged just now.

        A quorum has to have done so by the time of the acknowledgement, the others follow. With `--unsafe-no-fsync` a
        member only does for what it is created with (WAL.sync).
        """
        client = self._connected()
        before = client.fsyncs()
        client.probe()
        idle = sorted(address for address, times in client.fsyncs().items() if times <= before[address])
        if len(idle) > self.spec.replicas // 2:
            raise InfrastructureError(
                f"etcd acknowledges what it has not synced, at {', '.join(idle)}",
                hint="are its members run with --unsafe-no-fsync?",
            )
        if idle:
            raise NotYet(f"{', '.join(idle)} did not sync a put yet that was acknowledged")
