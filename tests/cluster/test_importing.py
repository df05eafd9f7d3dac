"""Archives of docker's containerd image store, imported with the nodes' own command into a real containerd."""

import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from rookery.cluster import stores
from rookery.waiting import NotYet, wait_for

NAME = "example.org/pulled:1"
HERE, ELSEWHERE = ("amd64", "arm64") if platform.machine() == "x86_64" else ("arm64", "amd64")
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


class Blobs:
    """What an archive holds, by digest."""

    def __init__(self):
        self.of = {}

    def add(self, media_type, content):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.of[digest] = data
        return {"mediaType": media_type, "digest": digest, "size": len(data)}


def layer_of(architecture):
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as layer:
        file = tarfile.TarInfo("architecture")
        file.size = len(architecture)
        layer.addfile(file, io.BytesIO(architecture.encode()))
    return tar.getvalue()


def manifest_of(blobs, architecture):
    layer = blobs.add(LAYER, layer_of(architecture))
    root = {"type": "layers", "diff_ids": [layer["digest"]]}
    config = blobs.add(CONFIG, {"architecture": architecture, "os": "linux", "config": {}, "rootfs": root})
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
    return {**blobs.add(MANIFEST, manifest), "platform": {"architecture": architecture, "os": "linux"}}


@pytest.fixture
def pulled(tmp_path):
    """`docker save` of an image of two platforms that was pulled for one: its index, and the blobs of that one."""
    here, absent = Blobs(), Blobs()
    manifests = [manifest_of(absent, ELSEWHERE), manifest_of(here, HERE)]
    index = here.add(INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})
    named = {**index, "annotations": {"io.containerd.image.name": NAME, "org.opencontainers.image.ref.name": "1"}}
    files = {
        "oci-layout": json.dumps({"imageLayoutVersion": "1.0.0"}).encode(),
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [named]}).encode(),
        **{f"blobs/{digest.replace(':', '/')}": data for digest, data in here.of.items()},
    }
    path = tmp_path / "images.tar"
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def containerd(tmp_path):
    """The address of one that has nothing in it."""
    if os.geteuid() != 0 or not (shutil.which("containerd") and shutil.which("ctr")):
        pytest.skip("needs root, containerd and ctr")
    address, config = tmp_path / "c.sock", tmp_path / "config.toml"
    config.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n', encoding="utf-8")
    argv = ["containerd", "--config", config, "--root", tmp_path / "root", "--state", tmp_path / "run"]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen([*argv, "--address", address], stdout=log, stderr=log)

        def answers():
            if server.poll() is not None:
                pytest.skip(f"containerd does not run here: {(tmp_path / 'log').read_text(encoding='utf-8')[-500:]}")
            if subprocess.run(["ctr", "-a", address, "version"], capture_output=True, timeout=10).returncode != 0:
                raise NotYet("it does not answer")

        try:
            wait_for(answers, what="containerd to answer", within=30)
            yield address
        finally:
            server.terminate()
            server.wait(timeout=20)


def imported(address: Path, command: str, archive: Path):
    argv = [*command.replace("ctr ", f"ctr -a {address} ", 1).split(), "--snapshotter=native", str(archive)]
    return subprocess.run(argv, capture_output=True, encoding="utf-8", timeout=60, check=False)


def test_an_image_that_was_pulled_for_one_platform_of_several_comes_into_a_node(containerd, pulled):
    done = imported(containerd, stores.IMPORT, pulled)
    assert done.returncode == 0, done.stderr
    listed = subprocess.run(
        ["ctr", "-a", containerd, "-n", "k8s.io", "images", "ls", "-q"], capture_output=True, encoding="utf-8"
    )
    assert NAME in listed.stdout.split()


def test_this_is_such_an_archive(containerd, pulled):
    done = imported(containerd, f"{stores.IMPORT} --all-platforms", pulled)
    assert (done.returncode != 0, "not found" in done.stderr) == (True, True)
