"""A kubeconfig that others have their clusters in as well: what is put there, and taken out again."""

import errno
import os
import re

import pytest
import yaml
from rookery.errors import InfrastructureError, UsageError
from rookery.machine import kubeconfig
from rookery.machine.leases import Lease


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
        (tmp_path / "own").write_text(yaml.safe_dump(kubeconfig_of("kind-c", port=40002)), encoding="utf-8")
        if content is not None:
            (tmp_path / "config").write_text(content, encoding="utf-8")
            (tmp_path / "config").chmod(0o600)
        kubeconfig.merge(tmp_path / "own", tmp_path / "config")
        assert {path.name for path in tmp_path.iterdir()} == {"own", "config", "state"}
        assert (tmp_path / "config").stat().st_mode & 0o777 == 0o600
        return yaml.safe_load((tmp_path / "config").read_text(encoding="utf-8"))

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
    (tmp_path / "own").write_text(yaml.safe_dump(kubeconfig_of("kind-c")), encoding="utf-8")
    (tmp_path / "config").write_bytes(content)
    with pytest.raises(UsageError, match="config is not a kubeconfig"):
        kubeconfig.merge(tmp_path / "own", tmp_path / "config")
    assert not kubeconfig.remove("kind-c", tmp_path / "config")
    assert (tmp_path / "config").read_bytes() == content


def test_what_is_taken_out_is_the_clusters_own_and_nothing_else(tmp_path):
    target = tmp_path / "config"
    target.write_text(
        yaml.safe_dump({**kubeconfig_of("kind-c", "production"), "preferences": {"colors": True}}), encoding="utf-8"
    )
    assert kubeconfig.remove("kind-c", target)
    as_left = target.read_bytes()
    assert yaml.safe_load(as_left) == {**kubeconfig_of("production"), "preferences": {"colors": True}}
    assert not kubeconfig.remove("kind-c", target)
    assert target.read_bytes() == as_left


def test_a_current_context_that_is_gone_becomes_none(tmp_path):
    target = tmp_path / "config"
    target.write_text(yaml.safe_dump(kubeconfig_of("production", "kind-c")), encoding="utf-8")
    assert kubeconfig.remove("kind-c", target)
    assert yaml.safe_load(target.read_text(encoding="utf-8"))["current-context"] == ""


def test_a_link_stays_one(tmp_path):
    (tmp_path / "real").write_text(yaml.safe_dump(kubeconfig_of("kind-c", "production")), encoding="utf-8")
    (tmp_path / "config").symlink_to(tmp_path / "real")
    assert kubeconfig.remove("kind-c", tmp_path / "config")
    assert (tmp_path / "config").is_symlink()
    assert yaml.safe_load((tmp_path / "real").read_text(encoding="utf-8")) == kubeconfig_of("production")


def test_it_goes_with_the_lease_of_the_cluster(tmp_path):
    target = tmp_path / "config"
    target.write_text(yaml.safe_dump(kubeconfig_of("kind-c", "production")), encoding="utf-8")
    lease = Lease.acquire("c")
    server = "https://127.0.0.1:40001"
    lease.add("kubeconfig", target, entry="kind-c", server=server)
    lease.add("kubeconfig", tmp_path / "never written", entry="kind-c", server=server)
    assert lease.release() == [f"kubeconfig {target} (kind-c)"]
    assert yaml.safe_load(target.read_text(encoding="utf-8")) == kubeconfig_of("production")
    assert not (tmp_path / "never written").exists()


WITH_ALL_SORTS = """\
# mine, since 2019
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {long}
    server: https://prod.example:6443   # the big one
  name: production
# who I am
contexts:
- context:
    cluster: production
    namespace: on
    user: "007"
  name: production
current-context: production
kind: Config
preferences: {{}}
users:
- name: "007"
  user:
    id: 007
    since: 2019-01-01
    until: 2019-01-01T10:00:00Z
    exec:
      args: [--mode, yes, 1e3, 0x1F, ~]
# the end
""".format(long="QUJD" * 400)


INDENTED = """\
---
clusters:
  # not to be touched
  - name: production
    cluster:
      server: 'https://prod.example:6443'
contexts:
  - name: production
    context: {cluster: production, user: me}
current-context: production
users:
  - name: me

  # by hand
"""
JSON = """{"apiVersion": "v1", "current-context": "production", "users": [],
 "contexts": [{"name": "production", "context": {}}],
 "clusters": [ {"name": "production", "cluster": {"server": "https://prod.example"}} ]}
"""
SHORT = "current-context: production\nclusters: []\nusers: [] # nobody\ncontexts: []\n"
FORMS = {"as kubectl writes it": WITH_ALL_SORTS, "indented": INDENTED, "JSON": JSON, "nothing in it": SHORT}


@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS.keys())
def test_what_is_not_ours_is_there_letter_by_letter_before_and_after(tmp_path, content):
    target = tmp_path / "config"
    target.write_text(content, encoding="utf-8")
    (tmp_path / "own").write_text(yaml.safe_dump(kubeconfig_of("kind-c")), encoding="utf-8")
    kubeconfig.merge(tmp_path / "own", target)
    between = yaml.safe_load(target.read_text(encoding="utf-8"))
    comments = [line[line.index("#") :] for line in content.splitlines() if "#" in line]
    assert [comment for comment in comments if comment not in target.read_text(encoding="utf-8")] == []
    assert (between["clusters"][-1]["name"], between["current-context"]) == ("kind-c", "kind-c")
    assert kubeconfig.remove("kind-c", target)
    assert target.read_text(encoding="utf-8") == re.sub(r'(current-context"?:) "?production"?', r'\1 ""', content)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_the_file_stays_its_owners_with_its_mode(tmp_path):
    target = tmp_path / "config"
    target.write_text(yaml.safe_dump(kubeconfig_of("production")), encoding="utf-8")
    os.chown(target, 1000, 1001)
    target.chmod(0o640)
    (tmp_path / "own").write_text(yaml.safe_dump(kubeconfig_of("kind-c")), encoding="utf-8")
    for change in (lambda: kubeconfig.merge(tmp_path / "own", target), lambda: kubeconfig.remove("kind-c", target)):
        change()
        found = target.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (1000, 1001, 0o640)


def test_no_link_that_somebody_has_planted_is_written_through(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious", encoding="utf-8")
    target = tmp_path / "config"
    target.write_text(yaml.safe_dump(kubeconfig_of("production", "kind-c")), encoding="utf-8")
    for name in ("config.new", ".config.rookery-", ".config.rookery-planted"):
        (tmp_path / name).symlink_to(victim)
    assert kubeconfig.remove("kind-c", target)
    assert victim.read_text(encoding="utf-8") == "precious"
    assert not target.is_symlink()


@pytest.mark.parametrize(("server", "gone"), [("https://127.0.0.1:40001", True), ("https://127.0.0.1:40009", False)])
def test_an_entry_that_has_become_another_clusters_is_left(tmp_path, server, gone):
    target = tmp_path / "config"
    target.write_text(yaml.safe_dump(kubeconfig_of("production", "kind-c", port=40001)), encoding="utf-8")
    before = target.read_bytes()
    assert kubeconfig.remove("kind-c", target, server) is gone
    assert (target.read_bytes() == before) is not gone


def test_kubectls_lock_is_taken_and_given_back(tmp_path, monkeypatch):
    target, lock = tmp_path / "config", tmp_path / "config.lock"
    target.write_text(yaml.safe_dump(kubeconfig_of("production", "kind-c")), encoding="utf-8")
    before = target.read_bytes()
    monkeypatch.setattr(kubeconfig, "LOCKED_FOR", 0.1)
    lock.touch()  # as client-go makes it
    with pytest.raises(InfrastructureError, match=r"the lock .*config\.lock") as caught:
        kubeconfig.remove("kind-c", target)
    assert caught.value.hint.endswith(f"rm {lock}")
    assert (target.read_bytes(), lock.exists()) == (before, True)
    lock.unlink()

    seen = []
    write = kubeconfig._write
    monkeypatch.setattr(kubeconfig, "_write", lambda *args, **more: (seen.append(lock.exists()), write(*args, **more)))
    assert kubeconfig.remove("kind-c", target)
    assert (seen, lock.exists()) == ([True], False)


def test_of_a_link_the_lock_is_beside_the_link_as_kubectls(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/real").write_text(yaml.safe_dump(kubeconfig_of("production", "kind-c")), encoding="utf-8")
    (tmp_path / "config").symlink_to(tmp_path / "elsewhere/real")
    (tmp_path / "config.lock").touch()
    monkeypatch.setattr(kubeconfig, "LOCKED_FOR", 0.1)
    with pytest.raises(InfrastructureError, match=r"config\.lock"):
        kubeconfig.remove("kind-c", tmp_path / "config")


def test_the_lock_and_the_draft_of_a_killed_run_are_no_obstacle_and_go(tmp_path):
    target = tmp_path / "config"
    target.write_text(yaml.safe_dump(kubeconfig_of("production", "kind-c")), encoding="utf-8")
    (tmp_path / "config.lock").write_text('{"pid": 1, "started": 1, "boot_id": "another"}', encoding="utf-8")
    (tmp_path / ".config.rookery-abc").write_text("half of it", encoding="utf-8")
    assert kubeconfig.remove("kind-c", target)
    assert {path.name for path in tmp_path.iterdir()} == {"config", "state"}


@pytest.mark.parametrize("content", [None, yaml.safe_dump(kubeconfig_of("production"))])
def test_what_a_run_left_that_was_killed_before_its_entry_was_there_goes(tmp_path, content):
    target = tmp_path / "config"
    if content is not None:
        target.write_text(content, encoding="utf-8")
    (tmp_path / "config.lock").write_text('{"pid": 1, "started": 1, "boot_id": "another"}', encoding="utf-8")
    (tmp_path / ".config.rookery-abc").write_text("others' secrets and ours", encoding="utf-8")
    assert not kubeconfig.remove("kind-c", target, "https://127.0.0.1:40001")
    assert {path.name for path in tmp_path.iterdir()} - {"state"} == ({"config"} if content else set())
    assert not kubeconfig.remove("kind-c", tmp_path / "no such folder/config")
    assert not (tmp_path / "no such folder").exists()


def test_a_lock_for_which_there_is_no_room_does_not_stay(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "config").write_text(yaml.safe_dump(kubeconfig_of("kind-c")), encoding="utf-8")
    monkeypatch.setattr(kubeconfig.json, "dump", full)
    with pytest.raises(InfrastructureError, match="No space left"):
        kubeconfig.remove("kind-c", tmp_path / "config")
    assert not (tmp_path / "config.lock").exists()


@pytest.mark.parametrize("where", ["file/config", "folder/x/config"])
def test_where_nothing_can_be_written_it_is_reported(tmp_path, where):
    (tmp_path / "own").write_text(yaml.safe_dump(kubeconfig_of("kind-c")), encoding="utf-8")
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/x").symlink_to("/proc/no/such")
    with pytest.raises(InfrastructureError, match="cannot be made") as caught:
        kubeconfig.merge(tmp_path / "own", tmp_path / where)
    assert caught.value.hint
