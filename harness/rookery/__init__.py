"""End-to-end tests of storage on throwaway Kubernetes clusters.

A scenario imports what it needs from here; nothing below is public. Names are imported when they are first used, so
that whoever has the harness installed, and no scenario, does not wait for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:  # the same as in _FROM, for type checkers and editors; a test compares them
    from rookery import ceph, drivers, faults, nodes, signatures, steps
    from rookery.catalogue.images import uses_images
    from rookery.errors import DeadlineExceeded, InfrastructureError, RookeryError, StorageFailure, Unknown, UsageError
    from rookery.history.recorder import Recorder
    from rookery.kube import KubeError
    from rookery.kube.conditions import not_ready
    from rookery.kube.symptoms import refused_with
    from rookery.plugin.session import deployed, removed
    from rookery.report.results import Results
    from rookery.storage.cluster import StorageCluster
    from rookery.waiting import Condition, NotYet, condition, minutes
    from rookery.workloads import moving
    from rookery.workloads.cassandra.workload import Cassandra
    from rookery.workloads.files import Files
    from rookery.workloads.namespaces import remove_namespace
    from rookery.workloads.postgresql.workload import PostgreSQL
    from rookery.workloads.services import Service
    from rookery.workloads.volumes import Claim, Pod, Volumes

_MODULES = {
    "ceph": "",
    "drivers": "",
    "faults": "",
    "moving": "workloads",
    "nodes": "",
    "signatures": "",
    "steps": "",
}  # by package
_FROM = {
    "catalogue.images": ("uses_images",),
    "errors": ("DeadlineExceeded", "InfrastructureError", "RookeryError", "StorageFailure", "Unknown", "UsageError"),
    "history.recorder": ("Recorder",),
    "kube": ("KubeError",),
    "plugin.session": ("deployed", "removed"),
    "report.results": ("Results",),
    "storage.cluster": ("StorageCluster",),
    "kube.conditions": ("not_ready",),
    "kube.symptoms": ("refused_with",),
    "waiting": ("Condition", "NotYet", "condition", "minutes"),
    "workloads.cassandra.workload": ("Cassandra",),
    "workloads.files": ("Files",),
    "workloads.postgresql.workload": ("PostgreSQL",),
    "workloads.namespaces": ("remove_namespace",),
    "workloads.services": ("Service",),
    "workloads.volumes": ("Claim", "Pod", "Volumes"),
}
_MODULE_OF = {name: module for module, names in _FROM.items() for name in names}

__all__ = [
    "Cassandra",
    "Claim",
    "Condition",
    "DeadlineExceeded",
    "Files",
    "InfrastructureError",
    "KubeError",
    "NotYet",
    "Pod",
    "PostgreSQL",
    "Recorder",
    "Results",
    "RookeryError",
    "Service",
    "StorageCluster",
    "StorageFailure",
    "Unknown",
    "UsageError",
    "Volumes",
    "ceph",
    "condition",
    "deployed",
    "drivers",
    "faults",
    "minutes",
    "moving",
    "nodes",
    "not_ready",
    "refused_with",
    "remove_namespace",
    "removed",
    "signatures",
    "steps",
    "uses_images",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for; Python asks only for what is not here yet (PEP 562)."""
    if name in _MODULES:
        found = import_module(".".join(part for part in (__name__, _MODULES[name], name) if part))
    elif name in _MODULE_OF:
        found = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
