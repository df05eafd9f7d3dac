"""PostgreSQL as a scenario uses it: what is special about it, beside `workloads.workload`.

Its promise is the plainest there is: a transaction whose commit was acknowledged is on the disk. There is one copy, so
a read of it is all that a read at QUORUM or at ALL could be; it is recorded as what it was asked as.
"""

from __future__ import annotations

from typing import Any

from rookery.errors import InfrastructureError
from rookery.history.recorder import Recorder
from rookery.kube import Kube
from rookery.report.results import Results
from rookery.waiting import Condition, NotYet, condition
from rookery.workloads.postgresql import KIND
from rookery.workloads.postgresql.client import LONGEST_WRITE, Client
from rookery.workloads.postgresql.manifests import MOUNT, NAME, PORT, USER, PostgreSQLSpec
from rookery.workloads.workload import CLIENT_WITHIN, Workload

# What an acknowledgement rests on; the defaults, read from the running server because an image may say otherwise.
# https://www.postgresql.org/docs/15/runtime-config-wal.html
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


class PostgreSQL(Workload[Client]):
    """A server on a volume of its own, and the client that writes to it."""

    kind = KIND
    threads = 4
    rows_per_second = 100.0  # each commit waits for the volume
    longest_write = LONGEST_WRITE
    rpo_seconds = 0.0

    def __init__(
        self,
        kube: Kube,
        *,
        image: str,
        record: Recorder,
        results: Results | None = None,
        namespace: str = "postgresql",
        storage_class: str,
        table: str | None = None,
    ) -> None:
        self.spec = PostgreSQLSpec(image, storage_class, namespace)
        super().__init__(kube, self.spec, image=image, record=record, results=results, table=table)

    def _until_ready(self) -> tuple[Condition[Any], ...]:
        pods, *others = super()._until_ready()
        return pods, self._configuration_synced, *others

    @condition("what the image has configured synced", within=CLIENT_WITHIN)
    def _configuration_synced(self) -> None:
        """Get behind us what is no commit.

        initdb syncs what it makes; what the image appends to the configuration after it nobody does. With a node kill
        half a minute later the server found zeros there, and would not start again.
        """
        self._kube.exec(f"{NAME}-0", ["sync", "--file-system", MOUNT], namespace=self.namespace)

    def _connect(self) -> Client:
        addresses = self.pod_addresses()
        if not addresses:
            raise NotYet("no pod of PostgreSQL has an address")
        (address,) = addresses.values()
        client = Client(
            address, port=PORT, user=USER, password=self.spec.password, table=self.table, record=self._record
        )  # fmt: skip
        try:
            client.ping()
        except BaseException:
            client.close()
            raise
        return client

    def _make_table(self) -> None:
        self._connected().create_table()

    def _prove_durable(self) -> None:
        found = self._connected().settings(*DURABLE)
        if found != DURABLE:
            raise InfrastructureError(
                f"PostgreSQL should have {DURABLE}, and has {found}",
                hint="what sets them otherwise: the image's postgresql.conf, or ALTER SYSTEM?",
            )
