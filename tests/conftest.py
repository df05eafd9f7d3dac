"""No test knows the clusters, leases, caches and settings of the machine it runs on."""

import os

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def isolated(tmp_path, monkeypatch):
    for name in os.environ:
        if name.startswith("ROOKERY_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ROOKERY_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
