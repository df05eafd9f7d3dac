"""Building images by their recipes, what is independent side by side."""

from __future__ import annotations

import contextlib
import graphlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from harness.errors import InfrastructureError
from harness.images import engine, recipes
from harness.images.recipes import Recipe
from harness.machine import unfinished
from harness.machine.docker import docker
from harness.machine.run import CommandFailed, run
from harness.paths import cache_dir

Say = Callable[[str], None]

# Compilers use both cores of a small machine already; a second and a third build fill the time they wait for packages.
SIDE_BY_SIDE = 3
BUILD_SECONDS = 1800
SPACE_NEEDED = 12 * 1024**3  # bytes in docker's root; measured: 9 GiB with the build cache of everything
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def plan(references: Iterable[str]) -> list[Recipe]:
    """The recipes to build for these images, each after those it needs. Images that are usable already end a branch."""
    order: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    found: dict[str, Recipe] = {}

    def visit(reference: str) -> str | None:
        if engine.usable(reference):
            return None
        recipe = recipes.need(reference)
        if recipe.reference not in found:
            found[recipe.reference] = recipe
            order.add(recipe.reference, *filter(None, map(visit, recipe.needs)))
        return recipe.reference

    for reference in references:
        visit(reference)
    return [found[reference] for reference in order.static_order()]


def build(references: Iterable[str], say: Say) -> list[str]:
    """Build the images and what they need; returns the references built.

    Raises `BadInput` for an image without a recipe, `InfrastructureError` with the log's last lines when a build fails.
    """
    todo = plan(references)
    if not todo:
        return []
    _check_space()
    names = {recipe.reference for recipe in todo}
    needs = {recipe.reference: [n for n in _planned(recipe.needs) if n in names] for recipe in todo}
    order = graphlib.TopologicalSorter(needs)
    by_name = {recipe.reference: recipe for recipe in todo}
    order.prepare()
    started, done = time.monotonic(), 0
    say(f"{len(todo)} images to build from packages")
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        running: dict[Future[float], str] = {}
        try:
            while order.is_active():
                # What most others wait for goes first: Kubernetes, which takes the longest, is under every node image.
                for name in sorted(order.get_ready(), key=lambda ready: -_waiting_for(ready, needs)):
                    running[pool.submit(_build_one, by_name[name])] = name
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    name, seconds = running.pop(future), future.result()
                    order.done(name)
                    done += 1
                    say(f"{name} built in {seconds:.0f} s, {len(todo) - done} left")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    # What had these names before is of no use any more.
    docker("image", "prune", "--force", "--filter", f"label={engine.RECIPE_LABEL}", timeout=300, check=False)
    say(f"{len(todo)} images built in {time.monotonic() - started:.0f} s")
    return [recipe.reference for recipe in todo]


def _waiting_for(name: str, needs: dict[str, list[str]]) -> int:
    """How many builds stand, one after another, on top of this one."""
    return max((1 + _waiting_for(other, needs) for other, those in needs.items() if name in those), default=0)


def _planned(needs: Iterable[str]) -> list[str]:
    return [recipe.reference if (recipe := recipes.find(need)) else need for need in needs]


def _check_space() -> None:
    root = docker("info", "-f", "{{.DockerRootDir}}", timeout=30).stdout.strip()
    with contextlib.suppress(FileNotFoundError):  # an engine elsewhere (Docker Desktop): it knows its own disk
        free = shutil.disk_usage(root).free
        if free < SPACE_NEEDED:
            raise InfrastructureError(
                f"{root} has {free / 1024**3:.1f} GiB free; building the images needs {SPACE_NEEDED / 1024**3:.0f} GiB",
                cure="`docker system prune`, or give docker another data-root",
            )


def _build_one(recipe: Recipe) -> float:
    """Build one image; returns the seconds it took."""
    started = time.monotonic()
    log = cache_dir() / "logs" / f"build-{recipe.name}-{recipe.tag}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="rookery-build-") as folder:
            make = _debootstrap if recipe.debootstrap else _docker_build
            output = make(recipe, Path(folder))
    except CommandFailed as error:
        log.write_text(error.output)
        tail = "\n".join(error.output.splitlines()[-20:])
        raise InfrastructureError(
            f"{recipe.reference}: its recipe {recipe.name} failed\n{tail}",
            cure=f"the whole log is {log}; can this machine reach the package registries?",
        ) from error
    log.write_text(output)
    for alias in recipe.aliases:
        docker("tag", recipe.reference, alias)
    return time.monotonic() - started


def _debootstrap(recipe: Recipe, folder: Path) -> str:
    """The suite's root filesystem without documentation, and with the recipe's files as settings of apt."""
    archive = folder / "root.tar"
    mmdebstrap = ["mmdebstrap", "--variant=minbase", "--dpkgopt=path-exclude=/usr/share/doc/*"]
    mmdebstrap += [f"--customize-hook=copy-in {path} /etc/apt/apt.conf.d" for _, path in recipe.files()]
    mmdebstrap += ['--customize-hook=rm -f "$1"/var/cache/apt/*.bin']  # apt does not clean what it is told not to use
    done = run([*mmdebstrap, recipe.tag, str(archive)], timeout=BUILD_SECONDS)
    label = f"LABEL {engine.RECIPE_LABEL}={recipe.digest}"
    docker("import", "--change", label, str(archive), recipe.reference, timeout=300)
    return done.stdout + done.stderr


def _docker_build(recipe: Recipe, folder: Path) -> str:
    options = ["--label", f"{engine.RECIPE_LABEL}={recipe.digest}", "--tag", recipe.reference]
    for name, value in recipe.args.items():
        options += ["--build-arg", f"{name}={value}"]
    if CERTIFICATES.exists():
        # Registries behind a proxy with a certificate of its own: the build may use the machine's, the image gets none.
        options += ["--secret", f"id=ca,src={CERTIFICATES}"]
    if recipe.module:
        fetch_module(recipe.module.path, recipe.module.version, folder / "module")
        context = folder / "module" / recipe.module.folder
        options += ["--target", recipe.module.target]
    else:
        context = folder
        for name, path in recipe.files():
            target = context / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        if recipe.archive:
            engine.save(recipe.archive, str(context / "images.tar"))
    command = ["build", "--network", "host", "--progress", "plain", *options, str(context)]
    done = docker(*command, timeout=BUILD_SECONDS)
    return done.stdout + done.stderr


def fetch_module(path: str, version: str, folder: Path) -> None:
    """Put the files of a published Go module into `folder`, by the Go toolchain in docker: the machine needs none."""
    build([recipes.GOLANG], lambda line: None)
    folder.mkdir(parents=True, exist_ok=True)
    mounts = ["-v", f"{folder}:/module"]
    if CERTIFICATES.exists():
        mounts += ["-v", f"{CERTIFICATES}:{CERTIFICATES}:ro"]
    docker(
        "run", "--rm", "--network", "host", *mounts, recipes.GOLANG, "go-module", path, version, "/module", timeout=600
    )


def export_file(reference: str, path: str, target: Path) -> None:
    """Copy the file `path` out of an image, which is built first where it must be; made executable."""
    build([reference], lambda line: None)
    container = docker("create", reference, "none").stdout.strip()
    try:
        with unfinished.being_made(target) as partial:
            copied = partial / target.name
            docker("cp", f"{container}:{path}", str(copied), timeout=120)
            copied.chmod(0o755)
            copied.rename(target)
    finally:
        docker("rm", "-f", container)
