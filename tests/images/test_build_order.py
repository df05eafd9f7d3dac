"""Which builds run when: what they need first, the longest path first, so many at a time."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_docker import CASSANDRA, REAL_BUILD, FakeDocker
from rookery.errors import DeadlineExceeded
from rookery.images import build, catalogue, durations, engine, recipes
from rookery.machine.locks import machine_lock


def test_builds_come_after_what_they_need(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(engine, "inspect", docker.inspect)
    order = [recipe.reference for recipe in build.plan(["kindest/node:v1.32.0", "docker.io/rook/ceph:v1.18.8"])]

    for name in order:
        for need in recipes.require(name).needs:
            assert order.index(recipes.require(need).reference) < order.index(name), f"{name} before {need}"
    docker.has("localhost/rookery/golang:1", recipes.require("localhost/rookery/golang:1").digest)
    assert "localhost/rookery/golang:1" not in [recipe.reference for recipe in build.plan(["kindest/node:v1.32.0"])]


def test_builds_run_when_what_they_need_is_there(builder: FakeDocker) -> None:
    builder.images.clear()

    built = REAL_BUILD(["kindest/node:v1.32.0", "registry.k8s.io/kube-scheduler:v1.32.0"])

    begun = [line.removeprefix("build ") for line in builder.asked if line.startswith("build ")]
    assert sorted(begun) == sorted(built)
    assert len(begun) == len(set(begun))
    assert engine.usable("registry.k8s.io/kube-scheduler:v1.32.0")
    assert REAL_BUILD(["kindest/node:v1.32.0"]) == []


def test_one_process_builds_at_a_time(builder: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks, be it a run, a program that it needs, or set-up for kind."""
    monkeypatch.setattr(build, "OTHERS_BUILT", 0.1)
    with machine_lock("builds"):
        assert REAL_BUILD([recipes.GOLANG]) == [], "within a build nobody waits for what it has built"
        with pytest.raises(DeadlineExceeded, match="another process holds it"):
            REAL_BUILD([catalogue.KIND])
    assert builder.asked == []
    assert catalogue.KIND in REAL_BUILD([catalogue.KIND])


def test_what_another_process_built_meanwhile_is_not_built_again(
    builder: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def lock(name: str, *, within: float) -> Iterator[None]:
        for recipe in build.plan([catalogue.KIND]):
            builder.has(recipe.reference, recipe.digest)
        yield

    monkeypatch.setattr(build, "machine_lock", lock)
    assert REAL_BUILD([catalogue.KIND]) == []
    assert builder.asked == []


def test_so_many_builds_run_side_by_side_and_no_more(builder: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    pair, third = threading.Barrier(2), threading.Barrier(3)
    met: list[str] = []

    def build_one(recipe: recipes.Recipe) -> float:
        try:
            third.wait(0.2)
            met.append(recipe.reference)
        except threading.BrokenBarrierError:
            pair.wait(10)
        return builder.build_one(recipe)

    monkeypatch.setattr(build, "SIDE_BY_SIDE", 2)
    monkeypatch.setattr(build, "_build_one", build_one)
    independent = ["registry.k8s.io/pause:3.10", "registry.k8s.io/coredns/coredns:v1.11.3"]

    built = REAL_BUILD([catalogue.KIND, catalogue.CSI_SANITY, *independent])

    assert len(built) == 4
    assert met == []


def test_the_longest_path_is_begun_first_by_what_recipes_took_last(
    builder: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for suite in ("bookworm", "trixie"):
        builder.has(f"localhost/rookery/debian:{suite}", recipes.require(f"localhost/rookery/debian:{suite}").digest)
    monkeypatch.setattr(build, "SIDE_BY_SIDE", 1)
    wanted = [catalogue.KIND, CASSANDRA, "registry.k8s.io/kube-proxy:v1.32.0"]

    def begun() -> list[str]:
        builder.asked.clear()
        for reference in [*wanted, "localhost/rookery/kubernetes:v1.32.0"]:
            builder.images.pop(recipes.local_name(reference), None)
        built = REAL_BUILD(wanted)
        order = [
            recipes.require(line.removeprefix("build ")).name for line in builder.asked if line.startswith("build ")
        ]
        assert len(order) == len(built)
        return order

    assert begun() == ["kubernetes", "kind", "kube-proxy", "cassandra"]  # 60 s and 60 s before 45 s
    durations.record(recipes.require(CASSANDRA), 500)
    assert begun()[0] == "cassandra"


def test_a_free_place_goes_to_the_longest_path_not_to_what_was_ready_first(
    builder: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian is built first; what is ready from the beginning, but short, gives way to what stands on it."""
    monkeypatch.setattr(build, "SIDE_BY_SIDE", 1)
    builder.images.clear()

    REAL_BUILD(["localhost/rookery/fio:1", "registry.k8s.io/kube-apiserver:v1.32.0"])

    begun = [line for line in builder.asked if line.startswith("build ")]
    assert begun == [
        "build localhost/rookery/debian:trixie",
        "build localhost/rookery/golang:1",
        "build localhost/rookery/kubernetes:v1.32.0",
        "build localhost/rookery/fio:1",
    ]


def test_what_is_built_is_reported_while_it_lasts_with_where_it_can_be_followed(
    builder: FakeDocker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, logged: pytest.LogCaptureFixture
) -> None:
    """A build that goes on until something was said of it."""
    told, line = threading.Event(), build.Progress.line

    def telling(progress: build.Progress, now: float) -> str:
        told.set()
        return line(progress, now)

    def build_one(recipe: recipes.Recipe) -> float:
        assert told.wait(10)
        return builder.build_one(recipe)

    monkeypatch.setattr(build, "_build_one", build_one)
    monkeypatch.setattr(build, "LOGGED_EVERY", 0.0)
    monkeypatch.setattr(build.Progress, "line", telling)

    REAL_BUILD([catalogue.KIND])

    log = tmp_path / "rookery/logs/build-kind-v0.33.0.log"
    said = [re.sub(r"\b\d+ s\b", "N s", line) for line in logged.messages]  # however busy the machine is
    assert said[0] == (
        f"1 image to build from packages, about N s; the log of each grows while it is built: tail -f {log}"
    )
    assert said[1] == "building kind N s of about 60; 1 left, about N s"
    assert said[-2:] == [f"{catalogue.KIND} built in N s, 0 left", "1 image built in N s"]


def test_a_line_shows_each_build_since_when_and_what_is_left(builder: FakeDocker) -> None:
    todo = build.plan(["kindest/node:v1.32.0", CASSANDRA])
    needs = {each.reference: [n for n in build._planned(each.needs) if engine.inspect(n) is None] for each in todo}
    progress = build.Progress(todo, needs)
    progress.running = {f"localhost/rookery/debian:{suite}": 100.0 for suite in ("bookworm", "trixie")}
    progress.running["localhost/rookery/kubernetes:v1.32.0"] = 90.0

    line = progress.line(now=130.0)

    assert line.startswith(
        "building debian:bookworm 30 s of about 60; debian:trixie 30 s of about 60; kubernetes 40 s of about 330; "
    )
    assert f" {len(todo)} left, about " in line
