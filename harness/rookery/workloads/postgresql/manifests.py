"""The Kubernetes objects of a PostgreSQL server with one volume."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import ClassVar

from rookery.kube.objects import Object
from rookery.workloads.stateful_set import StatefulSetSpec

NAME = "postgresql"
PORT = 5432
USER = "postgres"
MOUNT = "/var/lib/postgresql/data"


@dataclass(frozen=True)
class PostgreSQLSpec(StatefulSetSpec):
    """What differs from one deployment to another."""

    name: ClassVar[str] = NAME
    ports: ClassVar[dict[str, int]] = {"sql": PORT}

    namespace: str = NAME
    replicas: int = 1
    password: str = field(default_factory=lambda: secrets.token_hex(16))

    def _container(self) -> Object:
        return {
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
