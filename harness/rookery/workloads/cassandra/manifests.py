"""The Kubernetes objects of a three-replica Cassandra on volumes of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from rookery.errors import UsageError
from rookery.kube.objects import Object
from rookery.workloads.stateful_set import StatefulSetSpec

CommitlogSync = Literal["periodic", "batch"]

NAME = "cassandra"
CLIENT_SERVICE = "cassandracl"  # the Service for clients outside the cluster
VOLUME = "cassandra-data"
MOUNT = "/var/lib/cassandra"
COMMIT_LOG = f"{MOUNT}/commitlog"
DATACENTRE = "DC1-K8Demo"
CQL_PORT = 9042

JVM_FLAGS = (
    # Do not wait for gossip to settle: among three nodes there is nothing to wait for, and a start takes 8 s less.
    "-Dcassandra.skip_wait_for_gossip_to_settle=0",
    # How long a joining node listens for the others, and half of how long a restarted one looks for its seed; 30 s by
    # default, sized for rings of hundreds.
    "-Dcassandra.ring_delay_ms=5000",
    # What Cassandra finds out at every start, in a loop of 1.5 s of one core: "Estimated SkipListMemtable row overhead:
    # 180" (172 in 4.1). It decides when a memtable is full, and nothing about what is synced.
    "-Dcassandra.memtable.row_overhead_size=180",
)

# Whether a new ring is there at once, all replicas together, or as it grows by hand, one replica after another.
# Together: each has a token of its own, so none waits to see which are taken; none asks the others for data, since
# there is none yet; each takes all for seeds, so none has to be first. The ordinal stands before zeros: 0, 10^18, …
ORDINAL = "ORDINAL"
JAVA_SETTINGS, FORGET_UNKNOWN_NAMES = "/etc/java-settings", "names.properties"
TOGETHER_FLAGS = (
    f"-Dcassandra.initial_token=$({ORDINAL}){'0' * 18}",
    "-Dcassandra.auto_bootstrap=false",
    # The others' names are there a second after one's own.
    f"-Djava.security.properties={JAVA_SETTINGS}/{FORGET_UNKNOWN_NAMES}",
)
MOST_TOGETHER = 9  # tokens end at 2^63 - 1

BATCH_FLAGS = (
    # Settings of cassandra.yaml can be given on the command line since 4.1 (CASSANDRA-17166), if they are let to.
    "-Dcassandra.config.allow_system_properties=true",
    "-Dcassandra.settings.commitlog_sync=batch",
    # Both vendor and built images set a period in cassandra.yaml, and Cassandra refuses to start in batch mode with
    # one: "Batch sync specified, but commitlog_sync_period found" (DatabaseDescriptor.applySimpleConfig).
    "-Dcassandra.settings.commitlog_sync_period=0ms",
)

# The workaround for signatures.COMMIT_LOG_REFUSED: replay what can be read, and start without the rest.
IGNORE_REPLAY_ERRORS = "-Dcassandra.commitlog.ignorereplayerrors=true"

# https://cassandra.apache.org/doc/5.0/cassandra/managing/operating/topo_changes.html#replacing-a-dead-node
REPLACES = "-Dcassandra.replace_address_first_boot"


@dataclass(frozen=True)
class CassandraSpec(StatefulSetSpec):
    """What differs from one deployment to another."""

    name: ClassVar[str] = NAME
    ports: ClassVar[dict[str, int]] = {"cql": CQL_PORT}
    volume: ClassVar[str] = VOLUME

    namespace: str = NAME
    replicas: int = 3
    commitlog_sync: CommitlogSync = "periodic"
    one_by_one: bool = False
    ignore_replay_errors: bool = False
    replaces: str = ""
    """Address of a replica that is lost; a pod that starts with an empty volume takes its place in the ring."""

    def __post_init__(self) -> None:
        if self.replicas > MOST_TOGETHER and not self.one_by_one:
            raise UsageError(
                f"{self.replicas} replicas of Cassandra cannot start together: {MOST_TOGETHER} are the most",
                hint="one_by_one=True",
            )

    @property
    def service_dns(self) -> str:
        """The headless name; it resolves to the addresses of all pods."""
        return f"{NAME}.{self.namespace}.svc.cluster.local"

    @property
    def seeds(self) -> list[str]:
        """By their stable names, since every restart gives them other addresses."""
        seeds = 1 if self.one_by_one else self.replicas
        return [f"{NAME}-{ordinal}.{self.service_dns}" for ordinal in range(seeds)]

    @property
    def claims(self) -> list[str]:
        """Names of the PersistentVolumeClaims the StatefulSet makes."""
        return [f"{VOLUME}-{NAME}-{ordinal}" for ordinal in range(self.replicas)]

    @property
    def jvm_flags(self) -> str:
        flags = JVM_FLAGS + (BATCH_FLAGS if self.commitlog_sync == "batch" else ())
        flags += () if self.one_by_one else TOGETHER_FLAGS
        flags += (IGNORE_REPLAY_ERRORS,) if self.ignore_replay_errors else ()
        return " ".join((*flags, f"{REPLACES}={self.replaces}") if self.replaces else flags)

    def client_service(self) -> Object:
        """A Service of type LoadBalancer for clients outside; it names no pod, so it cannot stand in for the other."""
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {**self._metadata(), "name": CLIENT_SERVICE},
            "spec": {
                "type": "LoadBalancer",
                "ports": [{"name": "cql", "port": CQL_PORT}],
                "selector": {"app": NAME},
            },
        }

    def _service(self) -> Object:
        # A node is not ready before it has found its seed, and it finds the seed by this name. Were only ready pods
        # published, the name would be empty after a node kill, just when all look for each other.
        return {"publishNotReadyAddresses": True}

    def _settings(self) -> list[Object]:
        return [] if self.one_by_one else [self._java_settings()]

    def _java_settings(self) -> Object:
        """Security properties, which no option of the command line can say: Java remembers for 10 s that a name was not
        there. https://docs.oracle.com/en/java/javase/17/docs/api/java.base/java/net/doc-files/net-properties.html
        """
        settings = {FORGET_UNKNOWN_NAMES: "networkaddress.cache.negative.ttl=0\n"}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": self._metadata(), "data": settings}

    def _updates(self) -> Object:
        return {
            # Those that look for a place in the ring have to wait their turn: two that join at once are refused ("Other
            # bootstrapping/leaving/moving nodes detected"). With a token each and nothing to fetch none joins. A
            # restart is the same in both: the pods exist, and the kubelets start them all at once.
            "podManagementPolicy": "OrderedReady" if self.one_by_one else "Parallel",
            # A changed template is for the pods that are deleted, not a reason to restart the others.
            "updateStrategy": {"type": "OnDelete"},
        }

    def _pod(self) -> Object:
        settings = {"name": "java-settings", "configMap": {"name": NAME}}
        return {
            # Time for SIGTERM's drain (flush of memtables) of a small node; what is not done by then is replayed.
            "terminationGracePeriodSeconds": 30,
            "affinity": self._apart(),
            **({} if self.one_by_one else {"volumes": [settings]}),
        }

    def _container(self) -> Object:
        return {
            "env": self._environment(),
            "ports": [{"name": "cql", "containerPort": CQL_PORT}, {"name": "internode", "containerPort": 7000}],
            # Heap, off-heap memtables and the JVM's own. No limit: a kill by the cgroup would look like a fault.
            "resources": {"requests": {"memory": "768Mi"}},
            # No liveness probe: after a node kill a node replays its commit log for as long as that takes, and one that
            # is killed for being slow starts again from the beginning.
            "readinessProbe": {"tcpSocket": {"port": CQL_PORT}, "periodSeconds": 2},
            "volumeMounts": [
                {"name": VOLUME, "mountPath": MOUNT},
                *([] if self.one_by_one else [{"name": "java-settings", "mountPath": JAVA_SETTINGS}]),
            ],
        }

    def _environment(self) -> list[Object]:
        """Variables of the official image: https://hub.docker.com/_/cassandra"""
        variables = {
            # The official image insists on both or neither.
            "MAX_HEAP_SIZE": "384M",
            "HEAP_NEWSIZE": "96M",
            "CASSANDRA_SEEDS": ",".join(self.seeds),
            "CASSANDRA_CLUSTER_NAME": "K8Demo",
            "CASSANDRA_DC": DATACENTRE,
            "CASSANDRA_RACK": "Rack1-K8Demo",
            "CASSANDRA_ENDPOINT_SNITCH": "GossipingPropertyFileSnitch",
            "JVM_EXTRA_OPTS": self.jvm_flags,
        }
        given = [{"name": name, "value": value} for name, value in variables.items()]
        if self.one_by_one:
            return given
        # First: a variable can only name those before it.
        # https://kubernetes.io/docs/reference/labels-annotations-taints/#apps-kubernetes.io-pod-index
        ordinal = {"fieldRef": {"fieldPath": "metadata.labels['apps.kubernetes.io/pod-index']"}}
        return [{"name": ORDINAL, "valueFrom": ordinal}, {"name": "CASSANDRA_NUM_TOKENS", "value": "1"}, *given]
