"""What several tests of clusters are given."""

from pathlib import Path

import pytest
from rookery.report.results import Results
from rookery.rook import system as rook_system
from rookery.settings import Settings
from rookery.storage import cluster as storage
from rookery.storage.cluster import StorageCluster

KIND_CONFIGS = Path(__file__).parents[2] / "kind-configs"


@pytest.fixture
def new_cluster():
    def new_cluster(*, slot=0, slots=1, **settings):
        given = Settings(**{"kind_config": str(KIND_CONFIGS / "default.yaml"), "csi_driver": "userspace", **settings})
        return StorageCluster(given, slot=slot, slots=slots)

    return new_cluster


@pytest.fixture
def cluster(new_cluster):
    return new_cluster()


@pytest.fixture
def images_there(monkeypatch):
    """The images that nodes begin with need not be brought, and no engine is asked for them."""
    monkeypatch.setattr(storage.engine, "name_of", str)
    monkeypatch.setattr(storage.images, "ensure", lambda settings, references: [])
    monkeypatch.setattr(rook_system.resolve, "is_cached", lambda reference: True)
    monkeypatch.setattr(StorageCluster, "_prepare_to_create", lambda self, results, **_: self.prepare(results))


@pytest.fixture
def results(tmp_path):
    with Results(tmp_path / "results", "prepare") as results:
        yield results
