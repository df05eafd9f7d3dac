"""Where an image comes from, in which order, with a docker that only pretends."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
from contextlib import nullcontext
from pathlib import Path

import pytest
from fake_docker import CASSANDRA, CEPH, REAL_BUILD, FakeDocker
from rookery.errors import InfrastructureError, UsageError
from rookery.images import archives, build, catalogue, engine, pruning, recipes, resolve
from rookery.images.engine import LocalImage
from rookery.images.mirrors import Mirrors
from rookery.images.resolve import Origin
from rookery.machine import staging
from rookery.machine.run import CommandFailed


def ensure(*references: str, reachable: bool = False, mirror: str | None = None) -> list[Origin]:
    images = resolve.ensure(references, registries_reachable=lambda: reachable, mirrors=Mirrors.parse(mirror))
    return [image.origin for image in images]


def test_what_is_in_docker_is_used(docker: FakeDocker) -> None:
    docker.has(CEPH)

    assert ensure(CEPH, reachable=True) == [Origin.VENDOR]
    assert docker.asked == []


def test_then_the_archive_cache(docker: FakeDocker) -> None:
    docker.has(CEPH)
    archives.store([CEPH])
    docker.images.clear()

    assert ensure(CEPH, reachable=True) == [Origin.VENDOR]
    assert docker.asked == ["load"]


def test_then_a_registry(docker: FakeDocker) -> None:
    docker.registry = {CEPH}

    assert ensure(CEPH, reachable=True) == [Origin.VENDOR]
    assert docker.asked == [f"pull -q {CEPH}"]


def test_then_the_recipe(docker: FakeDocker) -> None:
    assert ensure(CEPH) == [Origin.BUILT]
    assert docker.asked == [f"build {CEPH}"]


def test_what_cannot_be_pulled_is_built(docker: FakeDocker) -> None:
    assert ensure(CEPH, reachable=True) == [Origin.BUILT]
    assert docker.asked == [f"pull -q {CEPH}", f"build {CEPH}"]


def test_a_mirror_serves_under_its_own_name(docker: FakeDocker) -> None:
    docker.registry = {"mirror:5000/library/cassandra:5.0.6"}

    assert ensure(CASSANDRA, mirror="mirror:5000") == [Origin.VENDOR]
    assert docker.asked[-1] == f"tag mirror:5000/library/cassandra:5.0.6 {CASSANDRA}"


def test_a_mirror_has_kinds_images_where_docker_hub_has_them(docker: FakeDocker) -> None:
    docker.registry = {"mirror:5000/kindest/node:v1.31.0"}

    mirrors = Mirrors.parse("mirror:5000")
    resolve.ensure(["kindest/node:v1.31.0"], registries_reachable=pytest.fail, mirrors=mirrors)

    assert docker.asked == [
        "pull -q mirror:5000/kindest/node:v1.31.0",
        "tag mirror:5000/kindest/node:v1.31.0 docker.io/kindest/node:v1.31.0",
    ]


def test_what_a_mirror_has_of_ours_is_used_and_is_not_called_the_vendors(docker: FakeDocker) -> None:
    source = "mirror:5000/ceph/ceph:v18.2.7"
    docker.registry, docker.built = {source}, {source: recipes.require(CEPH).digest}

    assert ensure(CEPH, mirror="mirror:5000") == [Origin.BUILT]
    assert docker.asked == [f"pull -q {source}", f"tag {source} localhost/rookery/quay.io/ceph/ceph:v18.2.7"]


def test_what_a_mirror_has_of_a_recipe_that_has_changed_is_built_anew(docker: FakeDocker) -> None:
    source = "mirror:5000/ceph/ceph:v18.2.7"
    docker.registry, docker.built = {source}, {source: "an older digest"}

    assert ensure(CEPH, mirror="mirror:5000") == [Origin.BUILT]
    assert docker.asked == [f"pull -q {source}", f"build {CEPH}"]


def test_an_image_of_somebodys_own_that_stands_on_ours_is_pulled_as_theirs(docker: FakeDocker) -> None:
    own, source = "quay.io/mine/ceph:v18", "mirror:5000/mine/ceph:v18"
    docker.registry, docker.built = {source}, {source: recipes.require(CEPH).digest}

    resolve.ensure([own], registries_reachable=pytest.fail, mirrors=Mirrors.parse("mirror:5000"))
    assert docker.asked[-1] == f"tag {source} {own}"


def test_each_registry_may_have_its_own_mirror(docker: FakeDocker) -> None:
    docker.registry = {"harbor:443/quay/ceph/ceph:v18.2.7", "cache:5000/library/cassandra:5.0.6"}

    mirror = "quay.io=harbor:443/quay,docker.io=cache:5000"
    assert ensure(CEPH, CASSANDRA, mirror=mirror) == [Origin.VENDOR, Origin.VENDOR]
    assert docker.asked == [
        "pull -q harbor:443/quay/ceph/ceph:v18.2.7",
        f"tag harbor:443/quay/ceph/ceph:v18.2.7 {CEPH}",
        "pull -q cache:5000/library/cassandra:5.0.6",
        f"tag cache:5000/library/cassandra:5.0.6 {CASSANDRA}",
    ]


@pytest.mark.parametrize(("reachable", "asked"), [(True, f"pull -q {CASSANDRA}"), (False, f"build {CASSANDRA}")])
def test_what_no_mirror_serves_is_its_own_registrys(docker: FakeDocker, reachable: bool, asked: str) -> None:
    docker.registry = {"mirror:5000/ceph/ceph:v18.2.7", CASSANDRA}

    ensure(CEPH, CASSANDRA, reachable=reachable, mirror="quay.io=mirror:5000")
    assert docker.asked[-1] == asked


@pytest.mark.parametrize(
    ("said", "told", "hint"),
    [
        (
            "manifest for m/ceph/ceph:v99 not found: manifest unknown",
            "v99.0.0 is not in the mirror",
            "have it there as",
        ),
        (
            "repository m/ceph/ceph not found: name unknown",
            "v99.0.0 is not in the mirror",
            "mirror:5000/ceph/ceph:v99.0.0",
        ),
        ("failed to resolve reference: m/ceph/ceph:v99: not found", "v99.0.0 is not in the mirror", "have it there as"),
        (
            "pull access denied for m/ceph/ceph, repository does not exist or may require 'docker login': denied",
            "does not give it out",
            "`docker login mirror:5000`",
        ),
        ('Get "https://mirror:5000/v2/": no basic auth credentials', "does not give it out", "docker login"),
        ('Get "https://mirror:5000/v2/": dial tcp: connection refused', "cannot be asked", "the engine reaches it"),
        ("dial tcp: lookup mirror: no such host", "cannot be asked (", "the engine reaches it"),
    ],
)
def test_a_mirror_that_has_not_got_an_image_is_distinguished_from_one_that_does_not_answer(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, said: str, told: str, hint: str
) -> None:
    def pull(*command: str, **_: object) -> None:
        raise CommandFailed(["docker", *command], 1, f"Error response from daemon: {said}")

    monkeypatch.setattr(resolve, "docker", pull)
    with pytest.raises(UsageError) as caught:
        ensure("quay.io/ceph/ceph:v99.0.0", reachable=True, mirror="mirror:5000")
    assert told in caught.value.message
    assert "registry can be reached" not in caught.value.message
    assert hint in caught.value.hint
    assert "18.2.7" in caught.value.hint, "and what can be built"


def test_what_a_mirror_lacks_is_built_where_a_recipe_makes_it(
    docker: FakeDocker, logged: pytest.LogCaptureFixture
) -> None:
    (image,) = resolve.ensure([CEPH], registries_reachable=pytest.fail, mirrors=Mirrors.parse("mirror:5000"))
    assert image.origin is Origin.BUILT
    assert logged.messages == [f"{CEPH} is not in the mirror mirror:5000; building it instead"]


def test_the_harness_own_images_are_never_pulled(docker: FakeDocker) -> None:
    assert ensure(catalogue.USERSPACE_CSI, mirror="mirror:5000") == [Origin.BUILT]
    assert docker.asked == [f"build {catalogue.USERSPACE_CSI}"]


def test_an_archive_for_one_image_brings_the_others_in_it(docker: FakeDocker) -> None:
    docker.has(CEPH)
    docker.has(CASSANDRA)
    archives.store([CEPH, CASSANDRA])
    docker.images.clear()

    assert ensure(CEPH, CASSANDRA) == [Origin.VENDOR, Origin.VENDOR]
    assert docker.asked == ["load"]


def test_registries_are_probed_once_and_only_for_what_is_missing(docker: FakeDocker) -> None:
    probes: list[None] = []

    def probe() -> bool:
        probes.append(None)
        return False

    resolve.ensure([CEPH, CASSANDRA, CEPH], registries_reachable=probe)
    assert len(probes) == 1
    resolve.ensure([CEPH, CASSANDRA], registries_reachable=probe)
    assert len(probes) == 1


def test_what_no_recipe_makes_is_refused_before_anything_is_built(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "build", REAL_BUILD)
    monkeypatch.setattr(build, "_build_one", docker.build_one)

    with pytest.raises(UsageError, match=r"v18\.2\.7"):
        ensure(CASSANDRA, "quay.io/ceph/ceph:v99.0.0")
    assert docker.asked == []


@pytest.mark.parametrize(
    ("reference", "reachable", "mirror", "says"),
    [
        ("docker.io/library/cassandra:5.0.6", False, None, ""),
        ("docker.io/library/cassandra:9.9", True, None, ""),
        ("docker.io/library/cassandra:9.9", False, "mirror.example", ""),
        ("docker.io/library/cassandra:9.9", False, None, "no registry can be reached"),
        ("localhost/rookery/etcd:9.9", True, "mirror.example", "no registry has the harness's own images"),
    ],
)
def test_what_nobody_can_be_asked_for_is_known_before(
    docker: FakeDocker, reference: str, reachable: bool, mirror: str | None, says: str
) -> None:
    with pytest.raises(UsageError, match=f"{says}, and no recipe") if says else nullcontext():
        resolve.require_obtainable([reference], registries_reachable=lambda: reachable, mirrors=Mirrors.parse(mirror))


def test_an_image_of_another_recipe_is_stale(docker: FakeDocker) -> None:
    docker.has(CEPH, recipe="an older digest")

    assert resolve.inspect(CEPH).origin is Origin.MISSING
    assert ensure(CEPH) == [Origin.BUILT]
    assert resolve.inspect(CEPH).recipe == recipes.require(CEPH).digest


def test_nobody_but_a_recipe_makes_the_harness_own_images(docker: FakeDocker) -> None:
    docker.has("localhost/rookery/ceph:v18.2.7")

    assert resolve.inspect("localhost/rookery/ceph:v18.2.7").origin is Origin.MISSING


DERIVED = "registry.example/team/ceph:patched"


def test_an_image_that_a_user_made_of_a_built_one_is_theirs(docker: FakeDocker) -> None:
    """It has inherited the label of what it stands on."""
    docker.has(DERIVED, recipe=recipes.require(CEPH).digest)

    assert ensure(DERIVED) == [Origin.BUILT]
    assert docker.asked == []
    archives.store([DERIVED])
    docker.images.clear()
    assert ensure(DERIVED) == [Origin.BUILT]
    assert docker.asked == ["load"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mirror": "mirror:5000"}, r"v99\.0\.0 is not in the mirror mirror:5000, and no recipe makes it"),
        ({"reachable": True}, r"not to be pulled \(quay\.io/ceph/ceph:v99\.0\.0: "),
        ({}, "no registry can be reached"),
    ],
    ids=["a mirror", "a registry", "neither"],
)
def test_what_nobody_has_is_reported_by_who_was_asked(docker: FakeDocker, options: dict, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        ensure("quay.io/ceph/ceph:v99.0.0", **options)
    assert ("no registry can be reached" in caught.value.message) is (options == {})


def test_an_archive_of_a_stale_image_is_not_used(docker: FakeDocker) -> None:
    docker.has(CEPH, recipe=recipes.require(CEPH).digest)
    index = archives.store([CEPH]).with_suffix(".json")
    index.write_text(
        index.read_text(encoding="utf-8").replace(recipes.require(CEPH).digest, "an older digest"), encoding="utf-8"
    )
    docker.images.clear()

    assert ensure(CEPH) == [Origin.BUILT]
    assert "load" not in docker.asked


def test_an_archive_without_its_index_does_not_count(docker: FakeDocker) -> None:
    docker.has(CEPH)
    archives.store([CEPH]).with_suffix(".json").unlink()

    assert archives.holding(CEPH) is None


@pytest.mark.parametrize(
    "torn", ["", '[{"reference": "quay.io/ce', '[{"reference": "quay.io/ceph/ceph:v18.2.7"}]', "7"]
)
def test_an_archive_with_a_torn_index_does_not_count_and_is_written_anew(docker: FakeDocker, torn: str) -> None:
    docker.has(CEPH)
    archive = archives.store([CEPH])
    archive.with_suffix(".json").write_text(torn, encoding="utf-8")

    assert archives.holding(CEPH) is None
    assert archives.store([CEPH]) == archive
    assert archives.holding(CEPH) == archives.stored()[0]


def test_an_index_without_its_archive_does_not_count(docker: FakeDocker) -> None:
    docker.has(CEPH)
    archives.store([CEPH]).unlink()

    assert archives.stored() == []


def test_a_killed_run_leaves_no_archive_without_an_index(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would know any more what takes the room."""
    rename = Path.rename

    def killed(path: Path, target: Path) -> Path:
        if path.suffix == ".tar":
            raise KeyboardInterrupt
        return rename(path, target)

    docker.has(CEPH)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            archives.store([CEPH])
    assert [path.suffix for path in archives.folder().iterdir()] == [".json"]
    assert archives.stored() == []

    stored = archives.store([CEPH])
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok: pytest.fail("killed") if path.suffix == ".json" else 0)
    with pytest.raises(pytest.fail.Exception):
        archives.remove(archives.stored()[0])
    assert stored.with_suffix(".json").exists()


def test_an_archive_that_an_earlier_version_left_without_index_goes(docker: FakeDocker) -> None:
    archives.folder().mkdir(parents=True)
    (archives.folder() / "0123.tar").touch()
    docker.has(CEPH)
    stored = archives.store([CEPH])

    assert {path.name for path in archives.folder().iterdir()} == {stored.name, stored.with_suffix(".json").name}


def test_archives_that_hold_the_same_state_stay(docker: FakeDocker) -> None:
    docker.has(CEPH)
    docker.has(CASSANDRA)
    kept = {archives.store([CEPH]), archives.store([CASSANDRA]), archives.store([CASSANDRA, CEPH])}

    assert {archive.path for archive in archives.stored()} == kept
    assert len(kept) == 3


def test_an_archive_is_written_once_and_replaced_when_an_image_changes(docker: FakeDocker) -> None:
    docker.has(CEPH)
    first = archives.store([CEPH])
    assert archives.store([CEPH]) == first

    docker.images.clear()
    docker.has(CEPH, recipe=recipes.require(CEPH).digest)
    second = archives.store([CEPH])

    assert second != first
    assert not first.exists()
    assert [archive.path for archive in archives.stored()] == [second]


def test_saving_what_is_not_there_reports_what(docker: FakeDocker, tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match=CEPH):
        resolve.save([CEPH], str(tmp_path / "images.tar"))


def test_an_image_is_labelled_with_its_recipe_and_gets_all_its_names(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def run(*args: str, **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(args)
        if args[0] == "build":
            assert (Path(args[-1]) / "Dockerfile").is_file()
        return subprocess.CompletedProcess(args, 0, "", "")

    monkeypatch.setattr(build, "docker", run)
    monkeypatch.setattr(build, "docker_logged", run)
    recipe = recipes.require("registry.k8s.io/kube-scheduler:v1.32.0")

    build._build_one(recipe)

    command, *tags = asked
    assert f"{engine.RECIPE_LABEL}={recipe.digest}" in command
    assert "KUBERNETES_VERSION=1.32.0" in command
    own = "localhost/rookery/registry.k8s.io/kube-scheduler:v1.32.0"
    assert ("tag", recipe.reference, own) in tags
    assert [name for _, _, name in tags if not name.startswith(recipes.OWN)] == []


@pytest.mark.parametrize(
    ("reference", "local"),
    [
        (CEPH, "localhost/rookery/quay.io/ceph/ceph:v18.2.7"),
        ("cassandra:5.0.6", "localhost/rookery/docker.io/library/cassandra:5.0.6"),
        ("kindest/node:v1.32.0", "localhost/rookery/kindest/node:v1.32.0"),
        (catalogue.USERSPACE_CSI, catalogue.USERSPACE_CSI),
    ],
)
def test_what_is_built_has_a_name_of_its_own_that_shows_what_it_stands_for(reference: str, local: str) -> None:
    assert recipes.local_name(reference) == recipes.local_name(local) == local
    assert recipes.stands_for(local) == recipes.canonical(reference)
    assert recipes.require(local) == recipes.require(reference)


def test_an_image_of_the_vendors_name_with_the_label_of_a_recipe_is_not_used(docker: FakeDocker) -> None:
    """As earlier versions called those they built; the vendor's own goes before one that was built here."""
    built = recipes.require(CEPH).digest
    docker.images[CEPH] = LocalImage("sha256:1", 1, "2026-11-24T08:00:00Z", built, CEPH)
    assert engine.usable(CEPH) is None
    docker.has(CEPH, recipe=built)
    assert engine.name_of(CEPH) == resolve.inspect(CEPH).name == "localhost/rookery/quay.io/ceph/ceph:v18.2.7"
    docker.has(CEPH)
    assert engine.name_of(CEPH) == CEPH


def test_what_is_not_there_has_no_name(docker: FakeDocker) -> None:
    with pytest.raises(InfrastructureError, match="is not in docker"):
        engine.name_of(CEPH)


def test_pruning_removes_what_no_run_would_use_and_no_image_of_a_users(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, own = "localhost/rookery/gone:1", catalogue.USERSPACE_CSI
    labels = {
        CEPH: recipes.require(CEPH).digest,
        CASSANDRA: "an older digest",
        own: recipes.require(own).digest,
        catalogue.FIO: "an older digest",
        old: "a digest",
        DERIVED: recipes.require(CEPH).digest,
    }
    docker.images = {name: LocalImage("sha256:1", 1, "", recipe, name) for name, recipe in labels.items()}

    def run(*args: str, **_: object) -> subprocess.CompletedProcess[str]:
        if args[:2] == ("image", "rm"):
            if args[2] == catalogue.FIO:
                return subprocess.CompletedProcess(args, 1, "", "in use")
            del docker.images[args[2]]
        elif args[0] == "tag":
            docker.images[args[2]] = docker.images[args[1]]
        return subprocess.CompletedProcess(args, 0, "", "")

    monkeypatch.setattr(pruning, "docker", run)
    monkeypatch.setattr(pruning, "docker_output", lambda *_: "\n".join([*docker.images, "<none>:<none>"]))

    local = recipes.local_name(CEPH)
    assert pruning.prune() == [f"{CEPH} is called {local} now", f"removed {CASSANDRA}", f"removed {old}"]
    assert set(docker.images) == {local, own, DERIVED, catalogue.FIO}
    assert pruning.prune() == []


@pytest.mark.parametrize(
    ("config", "recipe"),
    [
        ({"Labels": {engine.RECIPE_LABEL: "abc"}}, "abc"),
        ({"Labels": {"else": "1"}}, ""),
        ({"Labels": None}, ""),
        (None, ""),
    ],
)
def test_who_made_an_image_stands_in_its_label(config: object, recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = {"Id": "sha256:1", "Size": 2, "Created": "2026-11-24T08:00:00Z", "Config": config}

    def run(*args: str, **_: object) -> subprocess.CompletedProcess[str]:
        known = args[-1] == CASSANDRA
        return subprocess.CompletedProcess(args, 0 if known else 1, json.dumps([image] if known else []), "")

    monkeypatch.setattr(engine, "docker", run)

    assert engine.inspect("cassandra:5.0.6") == LocalImage("sha256:1", 2, "2026-11-24T08:00:00Z", recipe, CASSANDRA)
    assert engine.inspect(CEPH) is None


@pytest.mark.parametrize(
    ("status", "told", "hint"), [(1, "debian failed", "package registries"), (None, "debian did not end in", "cores")]
)
def test_a_build_that_fails_names_its_log_and_stops_what_follows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, docker: FakeDocker, status: int | None, told: str, hint: str
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(engine, "inspect", docker.inspect)
    monkeypatch.setattr(build, "_check_space", lambda: None)
    begun: list[str] = []

    def fail(recipe: recipes.Recipe, folder: Path, log: Path) -> None:
        begun.append(recipe.reference)
        raise CommandFailed(["mmdebstrap"], status, "E: no such suite")

    monkeypatch.setattr(build, "_debootstrap", fail)
    with pytest.raises(InfrastructureError, match="no such suite") as failed:
        build.build(["quay.io/ceph/ceph:v18.2.7"])

    assert begun == ["localhost/rookery/debian:trixie"]
    log = tmp_path / "rookery" / "logs" / "build-debian-trixie.log"
    assert str(log) in failed.value.hint
    assert told in failed.value.message
    assert hint in failed.value.hint
    assert "no such suite" in log.read_text(encoding="utf-8")


def test_an_archive_that_docker_cannot_read_is_removed_and_the_image_had_another_way(docker, monkeypatch) -> None:
    docker.has(CEPH)
    path = archives.store([CEPH])
    docker.images.clear()

    def unreadable(path: str) -> None:
        raise CommandFailed(["docker", "load"], 1, "unexpected EOF")

    monkeypatch.setattr(engine, "load", unreadable)

    assert ensure(CEPH) == [Origin.BUILT]
    assert not path.exists()


@pytest.mark.parametrize("fails", [False, True])
def test_a_file_of_an_image_is_in_its_place_when_it_is_complete(monkeypatch, tmp_path, fails) -> None:
    target, did = tmp_path / "bin/kind", []

    def docker(command: str, *args: str, **_: object) -> subprocess.CompletedProcess[str]:
        did.append((command, *args))
        if command == "cp":
            assert not target.exists()
            Path(args[-1]).write_text("the program", encoding="utf-8")
            if fails:
                raise CommandFailed(["docker", "cp"], 1, "no space left on device")
        return subprocess.CompletedProcess([], 0, stdout="container\n", stderr="")

    monkeypatch.setattr(build, "docker", docker)
    monkeypatch.setattr(build, "build", lambda references: None)
    monkeypatch.setattr(engine, "name_of", recipes.local_name)
    if fails:
        with pytest.raises(CommandFailed, match="no space left"):
            build.export_file(CEPH, "/kind", target)
    else:
        build.export_file(CEPH, "/kind", target)
        assert target.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in target.parent.iterdir()] == ([] if fails else ["kind"])
    assert did[-1] == ("rm", "-f", "container")


def test_what_nobody_pulled_and_no_recipe_built_is_not_the_vendors(docker: FakeDocker) -> None:
    docker.has(CEPH, pulled=False)

    assert ensure(CEPH) == [Origin.LOCAL]
    archives.store([CEPH])
    docker.images.clear()
    assert ensure(CEPH) == [Origin.LOCAL]


@pytest.mark.parametrize(("digests", "pulled"), [(["quay.io/ceph/ceph@sha256:1"], True), ([], False), (None, False)])
def test_an_image_that_was_pulled_has_the_digest_of_its_registry(
    monkeypatch: pytest.MonkeyPatch, digests: list[str] | None, pulled: bool
) -> None:
    told = {"Id": "sha256:1", "Size": 1, "Created": "2026-11-24T08:00:00Z", "Config": {}, "RepoDigests": digests}
    done = subprocess.CompletedProcess([], 0, json.dumps([told]), "")
    monkeypatch.setattr(engine, "docker", lambda *args, **_: done)
    image = engine.inspect(CEPH)
    assert image is not None
    assert image.pulled is pulled


@pytest.mark.parametrize("status", [None, 1])
def test_a_complete_archive_is_kept_when_an_engine_is_busy_or_full(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, status: int | None
) -> None:
    def busy(path: str) -> None:
        raise CommandFailed(["docker", "load"], status, "no space left on device")

    docker.has(CEPH)
    path = archives.store([CEPH])
    with tarfile.open(path, "w") as file:
        file.add(__file__)
    docker.images.clear()
    monkeypatch.setattr(engine, "load", busy)

    with pytest.raises(InfrastructureError, match="could not be loaded"):
        ensure(CEPH)
    assert path.exists()
    assert docker.asked == []

    path.write_bytes(path.read_bytes()[:-11000])  # torn: nobody will load it any more
    assert ensure(CEPH) == [Origin.BUILT]
    assert not path.exists()


def test_a_module_is_put_into_a_folder_that_selinux_has_not_labelled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(build, "build", lambda references: None)
    monkeypatch.setattr(build, "docker", lambda *args, **_: ran.append(args))
    with staging.staged(tmp_path / "module") as folder:
        build.fetch_module("example.org/m", "v1", folder / "module")
    (argv,) = ran
    assert argv[argv.index("--security-opt") + 1] == "label=disable"
    assert argv.index("--security-opt") < argv.index(recipes.GOLANG)


@pytest.mark.parametrize(
    ("recipe", "base"),
    [(True, "localhost/rookery/registry.k8s.io/etcd:3.5.16-0"), (False, "registry.k8s.io/etcd:3.5.16-0")],
)
def test_an_image_is_built_on_another_by_the_name_that_the_engine_has_that_by(
    docker, monkeypatch, tmp_path, recipe, base
):
    """Whether a recipe made it or a registry had it: docker asks a registry for any other name."""
    etcd = "registry.k8s.io/etcd:3.5.16-0"
    docker.has(etcd, recipes.require(etcd).digest if recipe else "")
    commands = []
    monkeypatch.setattr(build, "docker_logged", lambda *command, **_: commands.append(command))
    build._docker_build(recipes.require("localhost/rookery/etcd:3.5.16"), tmp_path / "context", tmp_path / "log")
    assert f"ETCD={base}" in commands[0]


def test_no_dockerfile_names_an_image_of_a_vendor():
    """It would not be found under that name where a recipe made it; an argument is looked up."""
    named = {
        (path.parent.name, base)
        for path in recipes.RECIPES.glob("*/Dockerfile")
        for base in re.findall(r"(?im)^FROM\s+(\S+)", path.read_text(encoding="utf-8"))
        if "/" in base and not base.startswith((recipes.OWN, "$"))
    }
    assert named == set()
