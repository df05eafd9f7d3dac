"""The Kubernetes objects of a three-replica Cassandra on volumes of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

CommitlogSync = Literal["periodic", "batch"]

NAME = "cassandra"  # of the StatefulSet, its Service, the container and the label `app`
CLIENT_SERVICE = "cassandracl"  # the Service for clients outside the cluster
VOLUME = "cassandra-data"
DATACENTRE = "DC1-K8Demo"
CQL_PORT = 9042

JVM_FLAGS = (
    # Do not wait for gossip to settle: among three nodes there is nothing to wait for, and a start takes 8 s less.
    "-Dcassandra.skip_wait_for_gossip_to_settle=0",
    # How long a joining node listens for the others, and half of how long a restarted one looks for its seed; 30 s by
    # default, sized for rings of hundreds.
    "-Dcassandra.ring_delay_ms=5000",
)

BATCH_FLAGS = (
    # Settings of cassandra.yaml can be given on the command line since 4.1 (CASSANDRA-17166), if they are let to.
    "-Dcassandra.config.allow_system_properties=true",
    "-Dcassandra.settings.commitlog_sync=batch",
    # Both vendor and built images set a period in cassandra.yaml, and Cassandra refuses to start in batch mode with
    # one: "Batch sync specified, but commitlog_sync_period found" (DatabaseDescriptor.applySimpleConfig).
    "-Dcassandra.settings.commitlog_sync_period=0ms",
)

# The cure of signatures.COMMIT_LOG_REFUSED: replay what can be read, and start without the rest.
IGNORE_REPLAY_ERRORS = "-Dcassandra.commitlog.ignorereplayerrors=true"


@dataclass(frozen=True)
class CassandraSpec:
    """What differs from one deployment to another."""

    image: str
    namespace: str = "cassandra"
    replicas: int = 3
    storage_class: str = "rook-ceph-block"
    commitlog_sync: CommitlogSync = "periodic"
    ignore_replay_errors: bool = False

    @property
    def labels(self) -> str:
        return f"app={NAME}"

    @property
    def service_dns(self) -> str:
        """The headless name; it resolves to the addresses of all pods."""
        return f"{NAME}.{self.namespace}.svc.cluster.local"

    @property
    def seed(self) -> str:
        """The one seed by its stable name, since every restart gives it another address."""
        return f"{NAME}-0.{self.service_dns}"

    @property
    def claims(self) -> list[str]:
        """Names of the PersistentVolumeClaims the StatefulSet makes."""
        return [f"{VOLUME}-{NAME}-{ordinal}" for ordinal in range(self.replicas)]

    @property
    def jvm_flags(self) -> str:
        flags = JVM_FLAGS + (BATCH_FLAGS if self.commitlog_sync == "batch" else ())
        return " ".join((*flags, IGNORE_REPLAY_ERRORS) if self.ignore_replay_errors else flags)

    def objects(self) -> list[dict[str, Any]]:
        """Namespace, headless Service and StatefulSet, in the order in which they have to be applied."""
        return [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}},
            self.headless_service(),
            self._stateful_set(),
        ]

    def headless_service(self) -> dict[str, Any]:
        """The Service that gives each pod its name, and under whose own name all of them are found."""
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": self._metadata(),
            "spec": {
                "clusterIP": "None",
                # A node is not ready before it has found its seed, and it finds the seed by this name. Were only ready
                # pods published, the name would be empty after a power cut, just when all look for each other.
                "publishNotReadyAddresses": True,
                "ports": [{"name": "cql", "port": CQL_PORT}],
                "selector": {"app": NAME},
            },
        }

    def client_service(self) -> dict[str, Any]:
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

    def _stateful_set(self) -> dict[str, Any]:
        return {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": self._metadata(),
            "spec": {
                "replicas": self.replicas,
                "serviceName": NAME,
                # One after another, and not `Parallel`: two nodes that join an empty ring at once are refused ("Other
                # bootstrapping/leaving/moving nodes detected", consistent range movement), and the crash and back-off
                # of the refused one cost more than waiting its turn. A restart is not slowed by this: the pods exist,
                # and the kubelets start them all at once.
                "podManagementPolicy": "OrderedReady",
                # A changed template is for the pods that are deleted, not a reason to restart the others.
                "updateStrategy": {"type": "OnDelete"},
                "selector": {"matchLabels": {"app": NAME}},
                "template": {"metadata": {"labels": {"app": NAME}}, "spec": self._pod()},
                "volumeClaimTemplates": [
                    {
                        "metadata": {"name": VOLUME},
                        "spec": {
                            "accessModes": ["ReadWriteOnce"],
                            "resources": {"requests": {"storage": "1Gi"}},
                            "storageClassName": self.storage_class,
                        },
                    }
                ],
            },
        }

    def _metadata(self) -> dict[str, Any]:
        return {"name": NAME, "namespace": self.namespace, "labels": {"app": NAME}}

    def _pod(self) -> dict[str, Any]:
        return {
            # Time for SIGTERM's drain (flush of memtables) of a small node; what is not done by then is replayed.
            "terminationGracePeriodSeconds": 30,
            "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [self._apart()]}},
            "containers": [self._container()],
        }

    def _apart(self) -> dict[str, Any]:
        """Each replica on another worker, so that one node's death takes one replica; preferred, for small clusters."""
        term = {"labelSelector": {"matchLabels": {"app": NAME}}, "topologyKey": "kubernetes.io/hostname"}
        return {"weight": 100, "podAffinityTerm": term}

    def _container(self) -> dict[str, Any]:
        return {
            "name": NAME,
            "image": self.image,
            "env": [{"name": name, "value": value} for name, value in self._environment().items()],
            "ports": [{"name": "cql", "containerPort": CQL_PORT}, {"name": "internode", "containerPort": 7000}],
            # Heap, off-heap memtables and the JVM's own. No limit: a kill by the cgroup would look like a fault.
            "resources": {"requests": {"memory": "768Mi"}},
            # No liveness probe: after a power cut a node replays its commit log for as long as that takes, and one that
            # is killed for being slow starts again from the beginning.
            "readinessProbe": {"tcpSocket": {"port": CQL_PORT}, "periodSeconds": 2},
            "volumeMounts": [{"name": VOLUME, "mountPath": "/var/lib/cassandra"}],
        }

    def _environment(self) -> dict[str, str]:
        """Variables of the official image: https://hub.docker.com/_/cassandra"""
        return {
            # The official image insists on both or neither.
            "MAX_HEAP_SIZE": "384M",
            "HEAP_NEWSIZE": "96M",
            "CASSANDRA_SEEDS": self.seed,
            "CASSANDRA_CLUSTER_NAME": "K8Demo",
            "CASSANDRA_DC": DATACENTRE,
            "CASSANDRA_RACK": "Rack1-K8Demo",
            "CASSANDRA_ENDPOINT_SNITCH": "GossipingPropertyFileSnitch",
            "JVM_EXTRA_OPTS": self.jvm_flags,
        }
