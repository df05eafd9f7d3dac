"""Bad input of every kind: exit status 2, one message with a hint, no traceback, and nothing made."""

import ast
import io
import json
import tarfile
from pathlib import Path

import pytest
import rookery
from rookery import cli, settings_check
from rookery.catalogue import collection
from rookery.errors import UsageError
from rookery.images import engine
from rookery.machine import docker, doctor
from rookery.plugin import session
from rookery.rook import versions
from rookery.settings import Settings
from rookery.settings_check import check

KIND = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n"
FILES = {
    "afile": "text",
    "bin.yaml": b"\xff\xfe\x00\x80",
    "notyaml.yaml": "a: [",
    "list.yaml": "[1]",
    "nodes5.yaml": f"{KIND}nodes: 5",
    "nodesnull.yaml": f"{KIND}nodes: [null]",
    "strnodes.yaml": f"{KIND}nodes: [worker]",
    "net.yaml": f"{KIND}networking: []\nnodes: [{{role: control-plane}}, {{role: worker}}]",
    "recursive.yaml": f"{KIND}nodes: &a [*a]",
    "role.yaml": f"{KIND}nodes: [{{role: control-plane}}, {{role: Worker}}]",
    "mountsnull.yaml": f"{KIND}nodes: [{{role: control-plane}}, {{role: worker, extraMounts: null}}]",
    "mountdev.yaml": f"{KIND}nodes: [{{role: control-plane}}, {{role: worker, extraMounts: "
    "[{hostPath: /dev, containerPath: /dev}]}]",
    "kc.txt": "no: [kubeconfig",
    "kclist.yaml": "[1]",
    "kcparts.yaml": "clusters: [5]",
    "pod.yaml": "kind: Pod",
    "script": "#!/bin/sh\necho kind v0.20.0 go1.21\n",
    "noprogram": "\x7fnot a program",
}
TOO_MANY = "9" * 5000
OPTIONS = [
    ("rook", "banana"), ("rook", "9.9.9"), ("rook", "1.12"), ("rook", "1.12.0"), ("rook", f"1.18.{TOO_MANY}"),
    ("rook", ""), ("ceph", "banana"), ("ceph", "19"), ("ceph", "17.2.0"), ("ceph", f"18.2.{TOO_MANY}"),
    ("kubernetes", "banana"), ("kubernetes", "1.31"), ("kubernetes", "1.36.0"), ("kubernetes", "1.28.0"),
    ("kubernetes", f"{TOO_MANY}.1.0"), ("kubernetes", " "),
    ("rook_manifests", "nowhere"), ("rook_manifests", "afile"), ("rook_manifests", "badrook"),
    ("rook_manifests", "greedyrook"), ("rook_manifests", "binaryrook"), ("rook_manifests", "a\0b"),
    ("registry_mirror", "https://mirror.example/"), ("registry_mirror", "mirror.example/"),
    ("registry_mirror", "http://mirror.example"), ("registry_mirror", "a b"), ("registry_mirror", "mirror:port"),
    ("kind_image", ""), ("kind_image", "Kindest/Node:v1"), ("kind_image", "a b"), ("kind_image", "kindest/node:"),
]  # fmt: skip
OF_A_CLUSTER = [
    ("kind_workers", "abc"), ("kind_workers", "0"), ("kind_workers", "-1"), ("kind_workers", "2.5"), ("kind_workers",
    "100000"), ("kind_workers", TOO_MANY), ("kind_workers", "99999999999"),
    ("disk_size", "banana"), ("disk_size", "5GiB"), ("disk_size", "0"), ("disk_size", "99999T"),
    ("disk_size", TOO_MANY),
    ("kind_config", "nowhere.yaml"), ("kind_config", "."), ("kind_config", "afile/x.yaml"), ("kind_config", "a\0b"),
    *(("kind_config", name) for name in FILES if name.endswith(".yaml") and not name.startswith("kc")),
    ("results_dir", "afile"), ("results_dir", "afile/results"), ("results_dir", "link"), ("results_dir", "x" * 300),
    ("cluster_name", "Rookery"), ("cluster_name", ""), ("cluster_name", "../x"), ("cluster_name", "a b"),
    ("cluster_name", "a" * 50), ("cluster_name", "a" * 60), ("cluster_name", "-a"), ("cluster_name", "a-"),
    ("cluster_name", "a.b"), ("cluster_name", "über"), ("cluster_name", "a\n"),
    ("kind_bin", "nowhere"), ("kind_bin", "."), ("kind_bin", "/bin/true"), ("kind_bin", "afile"),
    ("kind_bin", "script"), ("kind_bin", "noprogram"),
    ("kubeconfig", "."), ("kubeconfig", "kc.txt"), ("kubeconfig", "bin.yaml"), ("kubeconfig", "kclist.yaml"),
    ("kubeconfig", "kcparts.yaml"), ("kubeconfig", "pod.yaml"), ("kubeconfig", "afile/config"),
    ("kubeconfig", "recursive.yaml"),
]  # fmt: skip
VARIABLES = [
    ("ROOKERY_WORKER", "3", "did you mean ROOKERY_KIND_WORKERS?"),
    ("ROOKERY_KEEP_CLUSTERS", "1", "did you mean ROOKERY_KEEP_CLUSTER?"),
    ("ROOKERY_STATEDIR", "/data", "did you mean ROOKERY_STATE_DIR?"),
    ("ROOKERY_XYZZY", "1", "unset ROOKERY_XYZZY"),
    ("ROOKERY_STATE_DIR", "afile/state", "a folder of root's"),
]
VALUES = [
    ("ROOKERY_KIND_WORKERS", "abc"), ("ROOKERY_FAULT_SEED", "1.5"), ("ROOKERY_CSI_DRIVER", "zfs"),
    ("ROOKERY_NO_SNAPSHOTS", "maybe"),
    ("ROOKERY_ALL", "2"), ("ROOKERY_SHARD", "6/5"), ("ROOKERY_ROOK", "banana"), ("ROOKERY_CEPH", "17.2.0"),
]  # fmt: skip
PYPROJECT = [
    "[tool.rookery", "[tool]\nrookery = 3", "tool = 3", "[tool]\nrookery = ['a']", b"\xff\xfe",
    "[tool.rookery]\nworkes = 3", "[tool.rookery]\nceph = 19.2", "[tool.rookery]\nworkers = 'three'",
    "[tool.rookery]\nworkers = [1]", "[tool.rookery]\nworkers = true", "[tool.rookery]\nworkers = 2.5",
    "[tool.rookery]\nfresh = 1", "[tool.rookery]\nfresh = 'maybe'", "[tool.rookery]\nfresh = []",
    "[tool.rookery]\nrook = ''", "[tool.rookery]\nrook = {a = 1}", "[tool.rookery]\nrook = 2026-01-01",
    "[tool.rookery]\ndriver = 'zfs'", "[tool.rookery.workers]\nx = 1", f"a = {'[' * 2000}",
]  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with good and bad files, in which nobody asks docker, and a state folder in which nothing is."""

    def nobody():
        raise AssertionError("docker was asked")

    place = tmp_path / "place"
    for name, content in FILES.items():
        path = place / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for name in ("script", "noprogram"):
        (place / name).chmod(0o755)
    (place / "link").symlink_to("afile")
    for name, common in (
        ("badrook", "a: ["),
        ("greedyrook", "kind: CephCluster\nmetadata: {name: c}\nspec: {storage: {useAllDevices: true}}\n"),
        ("binaryrook", "\x80\x81"),
    ):
        (place / name).mkdir()
        for file in ("crds.yaml", "operator.yaml", "toolbox.yaml", "images.txt"):
            (place / name / file).touch()
        (place / name / "common.yaml").write_bytes(common.encode("latin-1"))
    monkeypatch.chdir(place)
    monkeypatch.setattr(docker, "client", nobody)
    before = sorted(place.rglob("*"))
    yield place
    assert sorted(place.rglob("*")) == before
    assert [path for path in (tmp_path / "state").rglob("*") if path.is_file()] == []
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


@pytest.fixture
def refused(place, capsys):
    """What `rookery` says of bad input."""

    def refused(*argv):
        try:
            status = cli.main(argv)
        except SystemExit as end:  # argparse's
            status = end.code
        printed = capsys.readouterr()
        assert (status, printed.out) == (2, "")
        assert "hint: " in printed.err or "usage: " in printed.err, printed.err
        return printed.err

    return refused


def options(name, value):
    return f"--{name.replace('_', '-')}={value}"


@pytest.mark.parametrize(("name", "value"), [*OPTIONS, *OF_A_CLUSTER], ids=lambda text: text[:30])
def test_an_option_that_cannot_be(refused, name, value):
    said = refused("bench", "bring-up", options(name, value))
    assert f"--{name.replace('_', '-')}" in said.partition("hint: ")[0] or name in ("kind_config", "disk_size"), said
    assert "addresses" not in said


@pytest.mark.parametrize(("name", "value"), dict(OPTIONS).items(), ids=lambda text: text[:30])
@pytest.mark.parametrize("command", [[], ["ensure"], ["save", "images.tar"]], ids=["list", "ensure", "save"])
def test_an_option_of_images_that_cannot_be(refused, command, name, value):
    refused("images", options(name, value), *command)


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable[0])
@pytest.mark.parametrize("command", [["sweep"], ["images"], ["setup"], ["snapshots"]], ids=" ".join)
def test_a_variable_that_is_none(refused, monkeypatch, command, variable):
    name, value, hint = variable
    monkeypatch.setenv(name, value)
    assert hint in refused(*command)


@pytest.mark.parametrize(("name", "value"), VALUES)
@pytest.mark.parametrize("command", [["bench", "bring-up"], ["setup"]], ids=" ".join)
def test_a_variable_of_a_wrong_value(refused, monkeypatch, command, name, value):
    monkeypatch.setenv(name, value)
    refused(*command)


@pytest.mark.parametrize("text", PYPROJECT, ids=lambda text: str(text)[:40])
@pytest.mark.parametrize("command", [["images"], ["setup"], ["scenarios"]], ids=" ".join)
def test_a_pyproject_that_cannot_be(place, refused, monkeypatch, tmp_path, command, text):
    monkeypatch.setattr(collection, "collect", lambda folder, pattern: [])
    other = tmp_path / "other"
    other.mkdir()
    (other / "pyproject.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    monkeypatch.chdir(other)
    refused(*command)


def test_a_pyproject_that_is_a_folder(refused, monkeypatch, tmp_path):
    (tmp_path / "other" / "pyproject.toml").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "other")
    assert "pyproject.toml cannot be read: Is a directory\n" in refused("images")


def archive(*names):
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 20_000
            tar.addfile(member, io.BytesIO(bytes(20_000)))
    return written.getvalue()


WHOLE = archive("manifest.json", "layer.tar")


@pytest.mark.parametrize(
    "content",
    [b"", b"text", b"\x1f\x8b broken", b"BZh9 broken", b"\xfd7zXZ\0 broken", archive("layer.tar"), WHOLE[:25_000],
     WHOLE[:600]],
    ids=["empty", "text", "gzip", "bzip2", "xz", "another archive", "torn in a layer", "torn in its index"],
)  # fmt: skip
def test_images_are_loaded_from_a_whole_archive_of_images(refused, tmp_path, content):
    (tmp_path / "bad.tar").write_bytes(content)
    told = refused("images", "load", str(tmp_path / "bad.tar"))
    assert "bad.tar" in told
    assert len(told.splitlines()) == 2


def test_a_good_archive_is_given_to_docker(place, tmp_path, monkeypatch):
    loaded = []
    monkeypatch.setattr(engine, "load", loaded.append)
    for content in (WHOLE, b"\x28\xb5\x2f\xfd of zstd"):
        (tmp_path / "good.tar").write_bytes(content)
        assert cli.main(["images", "load", str(tmp_path / "good.tar")]) == 0
    assert len(loaded) == 2


@pytest.mark.parametrize(
    "argv",
    [
        [], ["foo"], ["doctor", "--nope"], ["images", "load"], ["images", "load", "/nonexistent.tar"],
        ["images", "load", "."], ["images", "save", "."], ["images", "save", "nowhere/x.tar"],
        ["images", "save", "afile/x.tar"], ["images", "--csi-driver", "zfs"], ["snapshots", "prune", "foo"],
        ["scenarios", "--scenarios", "/nonexistent"], ["scenarios", "--scenarios", "afile"], ["scenarios"],
        ["bench", "bring-up", "--runs", "0"], ["bench", "bring-up", "--runs", "x"],
        ["bench", "volumes", "--only", "nope"], ["bench", "volumes", "--rounds", "-1"],
        ["bench", "restore", "--layer", "none"], ["bench", "core", "--of", "nowhere"],
        ["bench", "core", "--of", "afile"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_command_that_cannot_be(refused, argv):
    refused(*argv)


# One of each: that all others are refused as well is seen above, where it takes less.
@pytest.mark.parametrize(
    ("name", "value"),
    dict(
        [*OPTIONS, *OF_A_CLUSTER, ("fault_seed", "x"), ("shard", "9/5"), ("csi_driver", "zfs"), ("unexpected", "x")]
    ).items(),
    ids=lambda text: text[:30],
)
def test_a_scenario_is_not_begun(place, pytester, monkeypatch, name, value):
    def made(*_, **__):
        raise AssertionError("a cluster was begun")

    monkeypatch.setattr(session, "StorageCluster", made)
    scenario = pytester.makepyfile("def test_it(cluster):\n    pass\n")
    monkeypatch.chdir(place)
    done = pytester.runpytest_inprocess("-p", "no:cacheprovider", options(name, value), str(scenario))
    assert done.ret == 2
    said = done.stdout.str() + done.stderr.str()
    assert "hint: " in said
    assert "Traceback" not in said


def test_a_variable_that_is_none_ends_a_run_of_scenarios(place, pytester, monkeypatch):
    scenario = pytester.makepyfile("def test_it(cluster):\n    pass\n")
    monkeypatch.chdir(place)
    monkeypatch.setenv("ROOKERY_WORKER", "3")
    done = pytester.runpytest_inprocess("-p", "no:cacheprovider", str(scenario))
    assert done.ret == 2
    assert "did you mean ROOKERY_KIND_WORKERS?" in done.stdout.str() + done.stderr.str()


@pytest.mark.parametrize("path", ["role.yaml", "nowhere.yaml", "."])
def test_a_topology_of_a_scenarios_own_is_looked_at(place, pytester, monkeypatch, path):
    own = str(place / path)
    scenario = pytester.makepyfile(f"import pytest\n@pytest.mark.kind_config({own!r})\ndef test_it(cluster): pass\n")
    monkeypatch.chdir(place)
    done = pytester.runpytest_inprocess("-p", "no:cacheprovider", str(scenario))
    assert done.ret == 2
    assert "hint: " in done.stdout.str() + done.stderr.str()


def test_what_a_run_has_by_default_can_be(place):
    assert check(Settings()) == Settings()


@pytest.mark.parametrize(
    "given",
    [
        {"cluster_name": "a" * settings_check.NAME_LETTERS},
        {"cluster_name": "rookery-2"},
        {"registry_mirror": "mirror.example:5000"},
        {"registry_mirror": "10.0.0.1/docker.io"},
        {"kind_image": "kindest/node:v1.32.0@sha256:" + "a" * 64},
        {"kind_image": "localhost:5000/mine/node:1", "kubernetes": "1.99.0"},
        {"rook": "1.20.6", "kubernetes": "1.36.0", "ceph": "20.2.0"},
        {"rook": "1.18.8", "ceph": "19.2.3-20250717"},
        {"rook": "v1.19.0", "kubernetes": "v1.35.0-rc.1"},
        {"kubeconfig": "nowhere/config"},
        {"results_dir": "nowhere/results"},
        {"kind_workers": 1},
    ],
    ids=str,
)
def test_what_can_be_is_taken(place, given):
    check(Settings(**given))


def test_an_empty_kubeconfig_is_one(place, tmp_path):
    (tmp_path / "config").touch()
    check(Settings(kubeconfig=str(tmp_path / "config")))
    (tmp_path / "config").write_text(
        json.dumps({"kind": "Config", "clusters": None, "users": [{"name": "a"}]}), encoding="utf-8"
    )
    check(Settings(kubeconfig=str(tmp_path / "config")))


def test_manifests_of_ones_own_may_be_of_what_is_not_released(place, tmp_path):
    for name in ("crds.yaml", "common.yaml", "operator.yaml", "toolbox.yaml", "images.txt"):
        (tmp_path / name).touch()
    given = {"rook": "1.18.99", "ceph": "21.0.0", "kubernetes": "1.99.0"}
    with pytest.raises(UsageError, match=r"--ceph 21\.0\.0 does not fit .*\n  hint: .*--rook-manifests DIR takes any"):
        check(Settings(**given))
    check(Settings(**given, rook_manifests=str(tmp_path)))
    with pytest.raises(UsageError, match="--kubernetes banana"):
        check(Settings(**{**given, "kubernetes": "banana"}, rook_manifests=str(tmp_path)))


@pytest.mark.parametrize("minor", versions.RELEASES)
def test_every_release_takes_what_it_is_documented_for(minor):
    release = versions.RELEASES[minor]
    rook = str(release.last_patch)
    for kubernetes in release.kubernetes:
        versions.require_kubernetes(f"{kubernetes}.9", rook=rook)
    for ceph in release.ceph:
        versions.require_ceph(f"{ceph}.1", rook=rook)
    versions.require_ceph(None, rook=rook)
    first, last = ([int(part) for part in version.split(".")] for version in release.kubernetes)
    for kubernetes in (f"1.{first[1] - 1}.0", f"1.{last[1] + 1}.0", "2.0.0"):
        with pytest.raises(UsageError, match=f"does not fit Rook {rook}, which takes 1"):
            versions.require_kubernetes(kubernetes, rook=rook)
    for ceph in ("16.2.0", "18.1.0", "21.2.0"):
        with pytest.raises(UsageError, match=f"does not fit Rook {rook}, which takes"):
            versions.require_ceph(ceph, rook=rook)


def test_the_room_of_the_machine_bounds_workers_and_disks(place, monkeypatch):
    monkeypatch.setattr(settings_check, "memory_total", lambda: 8 * settings_check.GIB)
    check(Settings(kind_workers=8), only=["kind_workers"])
    with pytest.raises(UsageError, match=r"--kind-workers 9: this machine's 8 GiB .*\n  hint: at most 8 here"):
        check(Settings(kind_workers=9), only=["kind_workers"])
    monkeypatch.setattr(settings_check.shutil, "disk_usage", lambda path: type("", (), {"total": 9 << 30}))
    check(Settings(disk_size="9GiB"), only=["disk_size"])
    with pytest.raises(UsageError, match=r"--disk-size 10GiB: .* is on a filesystem of 9 GiB"):
        check(Settings(disk_size="10GiB"), only=["disk_size"])


def test_a_kernel_without_rbd_has_no_ceph_csi(monkeypatch):
    monkeypatch.setattr(doctor, "kernel_has", lambda name: False)
    check(Settings(csi_driver="userspace"), only=["csi_driver"])
    with pytest.raises(UsageError, match="needs a kernel with rbd"):
        check(Settings(csi_driver="ceph-csi"), only=["csi_driver"])
    check(Settings(csi_driver="ceph-csi"), only=["ceph"])  # whether a version can be had is no question of the kernel
    monkeypatch.setattr(doctor, "kernel_has", lambda name: name == "rbd")
    check(Settings(csi_driver="ceph-csi"), only=["csi_driver"])


def test_versions_that_fit_no_rook_are_of_no_concern_where_another_storage_system_serves():
    with pytest.raises(UsageError):
        check(Settings(kubernetes="1.19.0"), only=["kubernetes"])
    check(Settings(kubernetes="1.19.0", storage="local"), only=["kubernetes", "storage"])


def test_only_what_is_used_is_looked_at(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    given = Settings(results_dir="there", kind_config="nowhere.yaml")
    assert given.changed == ["kind_config", "results_dir"]
    check(given, only=["results_dir"])
    with pytest.raises(UsageError, match="no such kind configuration"):
        check(given)


def test_workers_of_xdist_are_not_begun_again_for_what_is_refused(pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.kind_config("nowhere.yaml")
        def test_it(cluster): pass
        """
    )
    ran = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "1", "--all")
    said = ran.stdout.str() + ran.stderr.str()
    assert (ran.ret, "crashed" in said, "nowhere.yaml: no such kind configuration" in said) == (2, False, True), said


def test_each_error_of_usage_or_of_the_machine_has_a_hint():
    """What is raised, and what is made to be raised later; `CommandFailed` and the like have the output for that."""
    package = Path(rookery.__file__).parent
    made = [
        (f"{path.relative_to(package)}:{node.lineno}", node)
        for path in sorted(package.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("UsageError", "InfrastructureError")
    ]
    hints = [(where, next((each.value for each in call.keywords if each.arg == "hint"), None)) for where, call in made]
    without = [where for where, hint in hints if hint is None or getattr(hint, "value", hint) == ""]
    assert {call.func.id for _, call in made} == {"UsageError", "InfrastructureError"}
    assert without == []
