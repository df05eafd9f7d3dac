"""What the tests of images are given."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_docker import FakeDocker
from rookery.images import build, engine, recipes, resolve


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeDocker:
    fake = FakeDocker()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("inspect", "save", "load"):
        monkeypatch.setattr(engine, name, getattr(fake, name))
    monkeypatch.setattr(resolve, "docker", fake.docker)
    monkeypatch.setattr(build, "build", fake.build)
    return fake


@pytest.fixture
def builder(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    """The same docker, with the order of builds as it really is and only the single build faked; Go is there."""
    docker.has(recipes.GOLANG, recipes.require(recipes.GOLANG).digest)
    monkeypatch.setattr(build, "_build_one", docker.build_one)
    monkeypatch.setattr(build, "docker", docker.docker)
    monkeypatch.setattr(build, "_check_space", lambda: None)
    return docker
