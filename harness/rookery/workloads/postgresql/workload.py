"""PostgreSQL as a scenario uses it: deploy, write, be there when the power goes, see what came back.

Its promise is the plainest there is: a transaction whose commit was acknowledged is on the disk. There is one copy, so
a read of it is all that a read at QUORUM or at ALL could be; it is recorded as what it was asked as.
"""

from __future__ import annotations

import secrets

from rookery.errors import InfrastructureError
from rookery.history.recorder import Recorder
from rookery.kube import Kube, retry_while_api_unavailable
from rookery.kube.conditions import pods_ready
from rookery.kube.objects import Object, value_of
from rookery.kube.symptoms import log_shown
from rookery.signatures import Signature
from rookery.waiting import Condition, NotYet, all_of, condition, minutes
from rookery.workloads.postgresql.client import LONGEST_WRITE, Client
from rookery.workloads.postgresql.manifests import MOUNT, NAME, PORT, USER, PostgreSQLSpec
from rookery.workloads.writers import WriterProcess, Writers

WRITERS = 4
ROWS_PER_SECOND = 100.0  # of all writers together: each commit waits for the volume
READY = minutes(5)
RECOVERED = minutes(5)
CLIENT_WITHIN = 60.0  # seconds

# What an acknowledgement rests on; the defaults, read from the running server because an image may say otherwise.
# https://www.postgresql.org/docs/15/runtime-config-wal.html
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


class PostgreSQL:
    """A server on a volume of its own, and the client that writes to it."""

    rpo_seconds: float | None = None
    """Seconds before a power cut in which an acknowledged row may be lost; None: not one may. For `check_writes`."""

    def __init__(
        self,
        kube: Kube,
        *,
        image: str,
        record: Recorder,
        namespace: str = "postgresql",
        storage_class: str = "rook-ceph-block",
    ) -> None:
        self.spec = PostgreSQLSpec(image, secrets.token_hex(16), namespace, storage_class)
        self._kube = kube
        self._record = record
        self._client: Client | None = None

    @property
    def namespace(self) -> str:
        return self.spec.namespace

    def deploy(self) -> None:
        """Apply the objects; does not wait."""
        self._kube.apply(self.spec.objects())

    @property
    def ready(self) -> Condition[None]:
        """The server, a client of it, the table, and that it acknowledges nothing before it syncs.

        Ends with `InfrastructureError` for one that does.
        """
        steps = (self.running, self._configuration_synced, self.rebuild, self._table, self._durable)
        return all_of("PostgreSQL Ready", *steps, within=READY)

    @property
    def running(self) -> Condition[list[Object]]:
        """The server's pod is Ready."""
        return pods_ready(self._kube, self.namespace, self.spec.labels, 1)

    @condition("what the image has configured synced", within=CLIENT_WITHIN)
    def _configuration_synced(self) -> None:
        # initdb syncs what it makes; what the image appends to the configuration after it nobody does. With the power
        # cut half a minute later the server found zeros there, and would not start again. That is no commit, so it is
        # got behind us here.
        self._kube.exec(f"{NAME}-0", ["sync", "--file-system", MOUNT], namespace=self.namespace)

    @condition("the table", within=CLIENT_WITHIN)
    def _table(self) -> None:
        self._connected().create_table()

    @condition("PostgreSQL's settings", within=CLIENT_WITHIN)
    def _durable(self) -> None:
        found = self._connected().settings(*DURABLE)
        if found != DURABLE:
            raise InfrastructureError(f"PostgreSQL should have {DURABLE}, and has {found}")

    @property
    def recovered(self) -> Condition[None]:
        """The server, and every row readable, twice; both reads are recorded. It is asked `since` the fault."""
        reads = (self.read_all("QUORUM"), self.read_all("ALL"))
        return all_of("PostgreSQL recovered", self.running, self.rebuild, *reads, within=RECOVERED)

    def log(self, signature: Signature) -> Condition[str]:
        """The log of the server says it."""
        return log_shown(self._kube, self.namespace, signature, labels=self.spec.labels, container=NAME)

    @condition("a client of PostgreSQL", within=CLIENT_WITHIN)
    def rebuild(self) -> None:
        """A new client is connected to the pod as it is now; the old one is closed."""
        self.close()
        client = Client(self._address(), port=PORT, user=USER, password=self.spec.password, record=self._record)
        try:
            client.ping()
        except BaseException:
            client.close()
            raise
        self._client = client

    def close(self) -> None:
        """Close the client; its writers are to be stopped first."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def write(self, rows: int) -> int:
        """Write `rows` new rows, each once, and return how many were acknowledged."""
        process = WriterProcess(self._connected().write, self._record)
        return sum(process.write() == "ok" for _ in range(rows))

    def start_writers(self, count: int = WRITERS, per_second: float = ROWS_PER_SECOND) -> Writers:
        """Start `count` threads that write new rows until they are stopped, about `per_second` in all."""
        client = self._connected()
        return Writers(
            client.write,
            self._record,
            count=count,
            per_second=per_second,
            longest_write=LONGEST_WRITE,
            closed=lambda: client.closed,
        )

    @condition("every row readable at {consistency}", within=CLIENT_WITHIN)
    def read_all(self, consistency: str) -> set[int]:
        """The table can be read; its value is the keys of the rows that are right. Each read is recorded."""
        return self._connected().read_rows(consistency)

    @retry_while_api_unavailable()
    def _address(self) -> str:
        for pod in self._kube.list("Pod", namespace=self.namespace, labels=self.spec.labels):
            if address := value_of(pod, "status", "podIP"):
                return address
        raise NotYet("no pod of PostgreSQL has an address")

    def _connected(self) -> Client:
        if self._client is None:
            raise NotYet("no client is connected: rebuild() first")
        return self._client
