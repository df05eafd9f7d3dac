"""The Kubernetes objects of a PostgreSQL server with one volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

NAME = "postgresql"  # of the StatefulSet, its Service, the container and the label `app`
PORT = 5432
USER = "postgres"
MOUNT = "/var/lib/postgresql/data"


@dataclass(frozen=True)
class PostgreSQLSpec:
    """What differs from one deployment to another."""

    image: str
    password: str
    storage_class: str
    namespace: str = "postgresql"
    replicas: int = 1

    @property
    def labels(self) -> str:
        return f"app={NAME}"

    def objects(self) -> list[dict[str, Any]]:
        """Namespace, headless Service and StatefulSet, in the order in which they have to be applied."""
        service = {"clusterIP": "None", "selector": {"app": NAME}, "ports": [{"name": "sql", "port": PORT}]}
        return [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}},
            {"apiVersion": "v1", "kind": "Service", "metadata": self._metadata(), "spec": service},
            self._stateful_set(),
        ]

    def _stateful_set(self) -> dict[str, Any]:
        return {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": self._metadata(),
            "spec": {
                "replicas": self.replicas,
                "serviceName": NAME,
                "selector": {"matchLabels": {"app": NAME}},
                "template": {"metadata": {"labels": {"app": NAME}}, "spec": {"containers": [self._container()]}},
                "volumeClaimTemplates": [
                    {
                        "metadata": {"name": "data"},
                        "spec": {
                            "accessModes": ["ReadWriteOnce"],
                            "resources": {"requests": {"storage": "1Gi"}},
                            "storageClassName": self.storage_class,
                        },
                    }
                ],
            },
        }

    def _container(self) -> dict[str, Any]:
        return {
            "name": NAME,
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "env": [
                {"name": "POSTGRES_USER", "value": USER},
                {"name": "POSTGRES_PASSWORD", "value": self.password},
                # A folder below the mount: initdb refuses one that has a lost+found.
                {"name": "PGDATA", "value": f"{MOUNT}/pgdata"},
            ],
            "ports": [{"name": "sql", "containerPort": PORT}],
            "resources": {"requests": {"memory": "128Mi"}},
            # By address: over the local socket it would answer already while it only makes its database.
            "readinessProbe": {
                "exec": {"command": ["pg_isready", "-h", "127.0.0.1", "-U", USER]},
                "periodSeconds": 2,
                "timeoutSeconds": 5,
            },
            "volumeMounts": [{"name": "data", "mountPath": MOUNT}],
        }

    def _metadata(self) -> dict[str, Any]:
        return {"name": NAME, "namespace": self.namespace, "labels": {"app": NAME}}
