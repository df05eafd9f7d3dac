"""A kubeconfig that others have their clusters in as well: what is put there, and taken out again."""

import pytest
import yaml

from harness.errors import BadInput
from harness.machine import kubeconfig
from harness.machine.leases import Lease


def kubeconfig_of(*names, port=40001):
    """A kubeconfig with clusters of those names, the last of which is the current one."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": f"https://127.0.0.1:{port}"}} for name in names],
        "users": [{"name": name, "user": {"token": f"{port}"}} for name in names],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in names],
        "current-context": names[-1],
    }


@pytest.fixture
def merged(tmp_path):
    """Merges kind-c at port 40002 into a file of that content (None: there is no file); returns what that becomes."""

    def merge(content):
        (tmp_path / "own").write_text(yaml.safe_dump(kubeconfig_of("kind-c", port=40002)))
        if content is not None:
            (tmp_path / "config").write_text(content)
        kubeconfig.merge(tmp_path / "own", tmp_path / "config")
        assert {path.name for path in tmp_path.iterdir()} == {"own", "config", "state"}
        assert (tmp_path / "config").stat().st_mode & 0o777 == 0o600
        return yaml.safe_load((tmp_path / "config").read_text())

    return merge


@pytest.mark.parametrize("content", [None, "", "apiVersion: v1\nkind: Config\nclusters: null\n"])
def test_a_kubeconfig_that_has_nothing_gets_the_cluster(merged, content):
    assert merged(content) == kubeconfig_of("kind-c", port=40002)


def test_a_kubeconfig_keeps_what_others_have_in_it_and_the_cluster_replaces_its_own(merged):
    others = {**kubeconfig_of("kind-c", "production"), "preferences": {"colors": True}}
    found = merged(yaml.safe_dump(others))
    for part in ("clusters", "users", "contexts"):
        own, production = others[part]
        assert found[part] == [production, *kubeconfig_of("kind-c", port=40002)[part]]
        assert own["name"] == "kind-c"
    assert found["current-context"] == "kind-c"
    assert found["preferences"] == {"colors": True}


@pytest.mark.parametrize("content", ["a: b: c", "- a list", b"\xff\xfe"])
def test_a_file_that_is_no_kubeconfig_is_refused_and_left_as_it_was(tmp_path, content):
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "own").write_text(yaml.safe_dump(kubeconfig_of("kind-c")))
    (tmp_path / "config").write_bytes(content)
    with pytest.raises(BadInput, match="config is no kubeconfig"):
        kubeconfig.merge(tmp_path / "own", tmp_path / "config")
    assert not kubeconfig.remove("kind-c", tmp_path / "config")
    assert (tmp_path / "config").read_bytes() == content


def test_what_is_taken_out_is_the_clusters_own_and_nothing_else(tmp_path):
    target = tmp_path / "config"
    target.write_text(yaml.safe_dump({**kubeconfig_of("kind-c", "production"), "preferences": {"colors": True}}))
    assert kubeconfig.remove("kind-c", target)
    as_left = target.read_bytes()
    assert yaml.safe_load(as_left) == {**kubeconfig_of("production"), "preferences": {"colors": True}}
    assert not kubeconfig.remove("kind-c", target)
    assert target.read_bytes() == as_left


def test_a_current_context_that_is_gone_becomes_none(tmp_path):
    target = tmp_path / "config"
    target.write_text(yaml.safe_dump(kubeconfig_of("production", "kind-c")))
    assert kubeconfig.remove("kind-c", target)
    assert yaml.safe_load(target.read_text())["current-context"] == ""


def test_a_link_stays_one(tmp_path):
    (tmp_path / "real").write_text(yaml.safe_dump(kubeconfig_of("kind-c", "production")))
    (tmp_path / "config").symlink_to(tmp_path / "real")
    assert kubeconfig.remove("kind-c", tmp_path / "config")
    assert (tmp_path / "config").is_symlink()
    assert yaml.safe_load((tmp_path / "real").read_text()) == kubeconfig_of("production")


def test_it_goes_with_the_lease_of_the_cluster(tmp_path):
    target = tmp_path / "config"
    target.write_text(yaml.safe_dump(kubeconfig_of("kind-c", "production")))
    lease = Lease.acquire("c")
    server = "https://127.0.0.1:40001"
    lease.add("kubeconfig", target, entry="kind-c", server=server)
    lease.add("kubeconfig", tmp_path / "never written", entry="kind-c", server=server)
    assert lease.release() == [f"kubeconfig {target} (kind-c)"]
    assert yaml.safe_load(target.read_text()) == kubeconfig_of("production")
    assert not (tmp_path / "never written").exists()
