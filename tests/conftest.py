"""No test knows the clusters, leases, caches and settings of the machine it runs on."""

import io
import logging
import os
import secrets
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import pytest
from rookery.cluster import others_networks
from rookery.errors import InfrastructureError
from rookery.images import engine
from rookery.images.catalogue import CHROMIUM
from rookery.machine import docker, loop

pytest_plugins = ["pytester"]

# Its deadline of 200 ms an example is of the machine's other work, and says nothing of the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

LONGEST_WAIT_SECONDS = 3.0
NO_ENGINE = "/nonexistent/engine-of-tests.sock"
FIRST_OF_TESTS = 200  # the numbers of loop devices from here on are the tests' own


@pytest.fixture(autouse=True)
def isolated(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith("ROOKERY_") or name == "COLUMNS":  # xdist's workers have the terminal's width
            monkeypatch.delenv(name)
    monkeypatch.setenv("ROOKERY_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(others_networks, "of_machine", dict)
    # A cluster of this machine whose nodes are off just now has its numbers still, which the tests' leases do not tell.
    monkeypatch.setattr(loop, "FIRST_NUMBER", FIRST_OF_TESTS)


@pytest.fixture(autouse=True)
def waits_for_nobody(monkeypatch):
    """Time that a test needs is a clock's of its own: one that waits for a deadline of minutes is found at once."""
    real, slept = time.sleep, 0.0

    def sleep(seconds):
        nonlocal slept
        if sys._getframe(1).f_globals["__name__"] != "subprocess":  # which waits so for a program to end
            slept += seconds
        assert slept < LONGEST_WAIT_SECONDS, "this test waits for real: give what it tests a clock of its own"
        real(seconds)

    monkeypatch.setattr(time, "sleep", sleep)


@pytest.fixture(autouse=True)
def asks_no_engine(request, monkeypatch):
    """No test knows whether a docker engine runs on this machine, but those that ask for a real one."""
    if "real_engine" not in request.fixturenames:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{NO_ENGINE}")


@pytest.fixture
def logged(caplog):
    """What the harness logs at INFO and above, as `logged.messages`."""
    caplog.set_level(logging.INFO, logger="rookery")
    return caplog


@pytest.fixture
def loop_number():
    """The number of a loop device that nobody has; what it was attached to is detached at the end."""
    if os.geteuid() != 0 or not loop.supported():
        pytest.skip("needs root and loop devices")
    number = max([loop.FIRST_NUMBER, *loop.attached()]) + 1
    yield number
    loop.detach(number)
    loop.remove(number)


@pytest.fixture
def real_engine():
    """A real docker engine: `create` makes containers, never started, of an empty image, under any label; `networks`
    are names of those that a test may make. All is removed at the end."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    try:
        client = docker.client()
    except InfrastructureError as error:
        pytest.skip(f"needs a docker engine: {error.message}")
    token = secrets.token_hex(8)
    image = f"localhost/rookery-test/{token}:1"
    archive = io.BytesIO()
    tarfile.open(fileobj=archive, mode="w").close()
    empty = [*client, "import", "--change", 'CMD ["none"]', "-", image]
    subprocess.run(empty, input=archive.getvalue(), capture_output=True, check=True, timeout=60)
    made, networks = [], []

    def create(name, *, labels=(), var="", network="none"):
        options = [f"--label={label}" for label in labels] + ([f"--volume={var}:/var"] if var else [])
        container = docker.docker_output("create", f"--name={name}", f"--network={network}", *options, image)
        made.append(container)
        return container

    def alive():
        """The names of what was created here, and is there."""
        found = docker.docker_output("ps", "-a", "--filter", f"ancestor={image}", "--format", "{{.Names}}").split()
        return sorted(name.removesuffix(f"-{token}") for name in found)

    try:
        yield SimpleNamespace(token=token, image=image, create=create, alive=alive, networks=networks)
    finally:
        for container in made:
            docker.docker("rm", "-f", "-v", container, check=False)
        for network in networks:
            docker.docker("network", "rm", network, check=False)
        docker.docker("image", "rm", "-f", image, check=False)


@pytest.fixture
def chromium(real_engine):
    """A real engine that has the image of a browser."""
    pytest.importorskip("selenium")
    if engine.usable(CHROMIUM) is None:
        pytest.skip(f"needs the image {CHROMIUM}, which is built where it is needed: rookery bench page")
    return real_engine


@pytest.fixture
def fuse_file(tmp_path):
    """A file (`path`) of a FUSE filesystem that another process serves (`server`)."""
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("needs root and /dev/fuse")
    path = tmp_path / "volume"
    path.touch()
    argv = [sys.executable, str(Path(__file__).parent / "fuse_file.py"), str(path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8") as server:
        try:
            assert server.stdout.readline() == "mounted\n"
            yield SimpleNamespace(path=path, server=server)
        finally:
            server.kill()
            subprocess.run(["umount", "--lazy", str(path)], capture_output=True, timeout=10, check=False)
