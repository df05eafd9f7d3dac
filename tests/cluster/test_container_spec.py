"""What a node is made of, taken from and given to an engine that is faked by what it was asked."""

import io
import tarfile
from pathlib import PurePosixPath
from types import SimpleNamespace

import pytest
from docker.errors import APIError
from hypothesis import given
from hypothesis import strategies as st
from rookery.cluster import container_spec
from rookery.cluster.container_spec import ADDED, DELETED, MODIFIED, ContainerSpec, outermost, save_changes
from rookery.errors import InfrastructureError

FOUND = {
    "Image": "sha256:abc",
    "Config": {"Hostname": "c-control-plane", "Image": "kindest/node:v1.32.0", "Volumes": {"/var": {}}, "Env": ["A=1"]},
    "HostConfig": {
        "NetworkMode": "rookery-c",
        "Privileged": True,
        "PortBindings": {"6443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "40001"}]},
    },
    "Mounts": [{"Destination": "/var"}, {"Destination": "/lib/modules"}],
}


@pytest.fixture
def engine(monkeypatch):
    """Has one container; `files` is what its folders hold, `changes` what it changed of its image."""
    engine = SimpleNamespace(changes=[], files={}, asked=[])

    def get_archive(name, path):
        """As the engine does it: the names in the archive begin with the last part of the path."""
        data, top = io.BytesIO(), PurePosixPath(path)
        with tarfile.open(fileobj=data, mode="w") as archive:
            for file, content in engine.files.items():
                if PurePosixPath(file) == top or top in PurePosixPath(file).parents:
                    member = tarfile.TarInfo(str(PurePosixPath(file).relative_to(top.parent)))
                    if isinstance(content, str):  # another name of that file
                        member.type = tarfile.LNKTYPE
                        member.linkname = str(PurePosixPath(content).relative_to(top.parent))
                        content = b""
                    member.size, member.mode, member.uid = len(content), 0o640, 4711
                    archive.addfile(member, io.BytesIO(content))
        raw = data.getvalue()
        return iter([raw[:100], raw[100:]]), {}

    monkeypatch.setattr(
        container_spec,
        "api",
        lambda: SimpleNamespace(
            inspect_container=lambda name: FOUND,
            diff=lambda name: engine.changes,
            get_archive=get_archive,
            create_container_from_config=lambda body, name: engine.asked.append((name, body)),
            put_archive=lambda name, path, archive: engine.asked.append((name, path, archive.read())),
        ),
    )
    return engine


def changed(path, kind=ADDED):
    return {"Path": path, "Kind": kind}


def test_a_node_is_made_again_with_the_very_same_settings_address_and_files(engine, tmp_path):
    (tmp_path / "changes.tar").write_bytes(b"files")
    ContainerSpec.of("c-control-plane", address="172.20.0.3").create(tmp_path / "changes.tar")
    (name, body), put = engine.asked
    assert name == "c-control-plane"
    assert body == {
        "Hostname": "c-control-plane",
        "Env": ["A=1"],
        "Image": "sha256:abc",  # a tag may lead elsewhere by now
        "HostConfig": FOUND["HostConfig"],
        "NetworkingConfig": {
            "EndpointsConfig": {
                "rookery-c": {"IPAMConfig": {"IPv4Address": "172.20.0.3"}, "Aliases": ["c-control-plane"]}
            }
        },
    }
    assert put == ("c-control-plane", "/", b"files")


def test_another_port_for_the_api_changes_nothing_else(engine):
    made = ContainerSpec.of("c-control-plane", address="172.20.0.3")
    moved = made.with_api_port(40002)
    assert (made.api_port, moved.api_port) == (40001, 40002)
    assert moved.with_api_port(40001) == made


def test_a_worker_has_no_port():
    assert ContainerSpec("c-worker", "sha256:abc", {}, {"PortBindings": None}, "").api_port is None
    assert ContainerSpec("c-worker", "sha256:abc", {}, {}, "").api_port is None


def test_what_a_node_changed_is_saved_under_its_whole_path(engine, tmp_path):
    engine.files = {
        "/etc/hosts": b"172.20.0.3",
        "/kind/certs/ca.crt": b"certificate",
        "/kind/certs/old.crt": "/kind/certs/ca.crt",
        "/var/lib/etcd": b"mounted",
        "/etc/unchanged": b"of the image",
    }
    engine.changes = [
        changed("/etc", MODIFIED),
        changed("/etc/hosts", MODIFIED),
        changed("/kind", MODIFIED),
        changed("/kind/certs"),
        changed("/kind/certs/ca.crt"),
        changed("/var", MODIFIED),
        changed("/usr/lib/modules"),  # a mount at /lib/modules, where /lib leads to /usr/lib
    ]
    save_changes("c-control-plane", tmp_path / "changes.tar")
    with tarfile.open(tmp_path / "changes.tar") as archive:
        assert sorted(archive.getnames()) == ["etc/hosts", "kind/certs/ca.crt", "kind/certs/old.crt"]
        hosts, alias = archive.getmember("etc/hosts"), archive.getmember("kind/certs/old.crt")
        assert (hosts.mode, hosts.uid) == (0o640, 4711)
        assert archive.extractfile(hosts).read() == b"172.20.0.3"
        assert (alias.islnk(), alias.linkname) == (True, "kind/certs/ca.crt")


def test_a_node_that_changed_nothing_has_an_empty_archive(engine, tmp_path):
    engine.changes = None  # as the engine says it
    save_changes("c-worker", tmp_path / "changes.tar")
    with tarfile.open(tmp_path / "changes.tar") as archive:
        assert archive.getnames() == []


def test_a_node_that_removed_files_of_its_image_cannot_be_saved(engine, tmp_path):
    engine.changes = [changed("/etc", MODIFIED), changed("/etc/motd", DELETED)]
    with pytest.raises(InfrastructureError, match=r"removed files of its image, which cannot be saved: /etc/motd"):
        save_changes("c-worker", tmp_path / "changes.tar")


def test_what_the_engine_refuses_is_infrastructure(monkeypatch, tmp_path):
    def refuse(name):
        raise APIError("no such container")

    monkeypatch.setattr(container_spec, "api", lambda: SimpleNamespace(inspect_container=refuse))
    with pytest.raises(InfrastructureError, match="saving the files of c-worker: no such container"):
        save_changes("c-worker", tmp_path / "changes.tar")


PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(st.dictionaries(PATHS, st.sampled_from([MODIFIED, ADDED])))
def test_outermost_covers_every_change_once(kinds):
    saved = outermost([changed(path, kind) for path, kind in kinds.items()])
    above = {path: {str(parent) for parent in PurePosixPath(path).parents} for path in kinds}
    assert [path for path in saved if above[path] & set(saved)] == []
    only_hold_others = {
        path for path, kind in kinds.items() if kind == MODIFIED and any(path in above[other] for other in kinds)
    }
    assert {path for path in kinds if not ({path} | above[path]) & set(saved)} <= only_hold_others
    assert only_hold_others & set(saved) == set()  # the whole of a folder is more than what changed in it
