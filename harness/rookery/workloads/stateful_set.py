"""The Kubernetes objects that every database has: a namespace, a headless Service, and a StatefulSet whose pods have a
volume each. What is special about one is in the `manifests.py` of its folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from rookery.kube.objects import Object


@dataclass(frozen=True)
class StatefulSetSpec(ABC):
    """What differs from one deployment of a database to another."""

    name: ClassVar[str]  # of the StatefulSet, its Service, the container and the label `app`
    ports: ClassVar[Mapping[str, int]]  # of the Service, by their names
    volume: ClassVar[str] = "data"

    image: str
    storage_class: str
    namespace: str
    replicas: int

    @property
    def labels(self) -> str:
        return f"app={self.name}"

    def objects(self) -> list[Object]:
        """Namespace, headless Service and StatefulSet, in the order in which they have to be applied."""
        return [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}},
            self.headless_service(),
            *self._settings(),
            self._stateful_set(),
        ]

    def headless_service(self) -> Object:
        """The Service that gives each pod its name, and under whose own name all of them are found."""
        ports = [{"name": name, "port": port} for name, port in self.ports.items()]
        spec = {"clusterIP": "None", "selector": {"app": self.name}, "ports": ports, **self._service()}
        return {"apiVersion": "v1", "kind": "Service", "metadata": self._metadata(), "spec": spec}

    @abstractmethod
    def _container(self) -> Object:
        """The container, but for its name and image."""

    def _pod(self) -> Object:
        """What a pod has beside its container."""
        return {}

    def _updates(self) -> Object:
        """How the StatefulSet makes and replaces its pods, where that is not one after the other."""
        return {}

    def _service(self) -> Object:
        """What the headless Service has beside its ports."""
        return {}

    def _settings(self) -> list[Object]:
        """What has to be there before the pods are."""
        return []

    def _apart(self) -> Object:
        """Each replica on another worker, so that one node's death takes one replica; preferred, for small clusters."""
        term = {"labelSelector": {"matchLabels": {"app": self.name}}, "topologyKey": "kubernetes.io/hostname"}
        preferred = [{"weight": 100, "podAffinityTerm": term}]
        return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}

    def _metadata(self) -> Object:
        return {"name": self.name, "namespace": self.namespace, "labels": {"app": self.name}}

    def _stateful_set(self) -> Object:
        container = {"name": self.name, "image": self.image, **self._container()}
        claim = {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": self.storage_class,
        }
        return {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": self._metadata(),
            "spec": {
                "replicas": self.replicas,
                "serviceName": self.name,
                "selector": {"matchLabels": {"app": self.name}},
                "template": {
                    "metadata": {"labels": {"app": self.name}},
                    "spec": {"containers": [container], **self._pod()},
                },
                "volumeClaimTemplates": [{"metadata": {"name": self.volume}, "spec": claim}],
                **self._updates(),
            },
        }
