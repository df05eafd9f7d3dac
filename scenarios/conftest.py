"""Everything here needs a cluster. Fixtures that only some of the scenarios need."""

import pytest

from harness.kube.dns import Resolver
from harness.rook.toolbox import LABELS as TOOLBOX


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.scenario)


@pytest.fixture
def dns(cluster):
    """The cluster's DNS, as a pod that is no part of any workload sees it."""
    return Resolver(cluster.kube, namespace="rook-ceph", labels=TOOLBOX)
