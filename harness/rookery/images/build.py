"""Building images by their recipes, what is independent side by side."""

from __future__ import annotations

import contextlib
import graphlib
import logging
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from rookery.errors import InfrastructureError
from rookery.images import durations, engine, recipes
from rookery.images.recipes import Recipe
from rookery.machine import staging
from rookery.machine.docker import docker, docker_logged
from rookery.machine.locks import machine_lock
from rookery.machine.run import CommandFailed, run_logged
from rookery.paths import cache_dir

log = logging.getLogger(__name__)

# Compilers use both cores of a small machine already; a second and a third build fill the time they wait for packages.
# No recipe limits what its compiler uses, so that a build that is alone has all cores.
SIDE_BY_SIDE = 3
LOGGED_EVERY = 10.0  # seconds
BUILD_SECONDS = 1800
OTHERS_BUILT = 3600.0  # deadline for all that another process builds
SPACE_NEEDED = 12 * 1024**3  # bytes in docker's root; measured: 9 GiB with the build cache of everything
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def plan(references: Iterable[str]) -> list[Recipe]:
    """The recipes to build for these images, each after those it needs. Images that are usable already end a branch."""
    order: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    found: dict[str, Recipe] = {}

    def visit(reference: str) -> str | None:
        if engine.usable(reference):
            return None
        recipe = recipes.require(reference)
        if recipe.reference not in found:
            found[recipe.reference] = recipe
            order.add(recipe.reference, *filter(None, map(visit, recipe.needs)))
        return recipe.reference

    for reference in references:
        visit(reference)
    return [found[reference] for reference in order.static_order()]


def build(references: Iterable[str]) -> list[str]:
    """Build the images and what they need, one process of this machine at a time; returns the references built.

    Raises `UsageError` for an image without a recipe, `InfrastructureError` with the log's last lines when a build
    fails, `DeadlineExceeded` if another process does not come to its end.
    """
    references = tuple(references)
    if not plan(references):  # as within a build of what needs them
        return []
    with machine_lock("builds", within=OTHERS_BUILT):
        return _build(plan(references))  # another process may have built them meanwhile


def _build(todo: Sequence[Recipe]) -> list[str]:
    if not todo:
        return []
    _check_space()
    names = {recipe.reference for recipe in todo}
    needs = {recipe.reference: [n for n in _planned(recipe.needs) if n in names] for recipe in todo}
    progress = Progress(todo, needs)
    log.info("%s", progress.begin())
    _build_side_by_side(needs, progress)
    # What had these names before is of no use any more.
    docker("image", "prune", "--force", "--filter", f"label={engine.RECIPE_LABEL}", timeout=300, check=False)
    log.info("%s built in %.0f s", _count(len(todo)), time.monotonic() - progress.started)
    return [recipe.reference for recipe in todo]


class Progress:
    """What of the builds of one call is in progress, and about how long the rest takes, by what each took last."""

    def __init__(self, todo: Sequence[Recipe], needs: Mapping[str, Sequence[str]]) -> None:
        recorded = durations.recorded()
        self.recipes = {recipe.reference: recipe for recipe in todo}
        self.seconds = {recipe.reference: durations.expected(recipe, recorded) for recipe in todo}
        self.paths = durations.longest_path(needs, self.seconds)
        self.started = time.monotonic()
        self.running: dict[str, float] = {}  # since when
        self.done: list[str] = []
        self._needs = needs

    def begin(self) -> str:
        """What there is to do, and where it can be followed."""
        longest = max(self.recipes.values(), key=lambda recipe: self.seconds[recipe.reference])
        return (
            f"{_count(len(self.recipes))} to build from packages, {durations.about(self._left({}))}; "
            f"the log of each grows while it is built: tail -f {_log(longest)}"
        )

    def line(self, now: float) -> str:
        """What is in progress, since when, and how much is left."""
        had = {name: now - since for name, since in self.running.items()}
        each = [f"{self._short(name)} {had[name]:.0f} s of about {self.seconds[name]:.0f}" for name in had]
        number = len(self.recipes) - len(self.done)
        return f"building {'; '.join(each)}; {number} left, {durations.about(self._left(had))}"

    def end(self, name: str, seconds: float) -> str:
        """Note that one is built."""
        del self.running[name]
        self.done.append(name)
        durations.record(self.recipes[name], seconds)
        return f"{name} built in {seconds:.0f} s, {len(self.recipes) - len(self.done)} left"

    def _left(self, had: Mapping[str, float]) -> float:
        return durations.left(self._needs, self.seconds, had, self.done, SIDE_BY_SIDE)

    def _short(self, name: str) -> str:
        recipe = self.recipes[name]
        alone = sum(each.name == recipe.name for each in self.recipes.values()) == 1
        return recipe.name if alone else f"{recipe.name}:{recipe.tag}"


def _build_side_by_side(needs: Mapping[str, Sequence[str]], progress: Progress) -> None:
    """Build all of them, each after what it needs; first what the longest chain of builds stands on."""
    order = graphlib.TopologicalSorter(needs)
    order.prepare()
    ready: list[str] = []
    next_log = progress.started + LOGGED_EVERY
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        running: dict[Future[float], str] = {}
        try:
            while order.is_active():
                ready = sorted([*ready, *order.get_ready()], key=lambda name: -progress.paths[name])
                while ready and len(running) < SIDE_BY_SIDE:
                    name = ready.pop(0)
                    running[pool.submit(_build_one, progress.recipes[name])] = name
                    progress.running[name] = time.monotonic()
                within = max(next_log - time.monotonic(), 0)
                for future in wait(running, timeout=within, return_when=FIRST_COMPLETED).done:
                    name, seconds = running.pop(future), future.result()
                    order.done(name)
                    log.info("%s", progress.end(name, seconds))
                if progress.running and (now := time.monotonic()) >= next_log:
                    log.info("%s", progress.line(now))
                    next_log = now + LOGGED_EVERY
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _planned(needs: Iterable[str]) -> list[str]:
    return [recipe.reference if (recipe := recipes.find(need)) else need for need in needs]


def _count(images: int) -> str:
    return "1 image" if images == 1 else f"{images} images"


def _check_space() -> None:
    root = docker("info", "-f", "{{.DockerRootDir}}", timeout=30).stdout.strip()
    with contextlib.suppress(FileNotFoundError):  # an engine elsewhere (Docker Desktop): it knows its own disk
        free = shutil.disk_usage(root).free
        if free < SPACE_NEEDED:
            raise InfrastructureError(
                f"{root} has {free / 1024**3:.1f} GiB free; building the images needs {SPACE_NEEDED / 1024**3:.0f} GiB",
                hint="`docker system prune`, or give docker another data-root",
            )


def _log(recipe: Recipe) -> Path:
    return cache_dir() / "logs" / f"build-{recipe.name}-{recipe.tag}.log"


def _build_one(recipe: Recipe) -> float:
    """Build one image, with a log that can be followed; returns the seconds it took."""
    started = time.monotonic()
    log_file = _log(recipe)
    log_file.parent.mkdir(parents=True, exist_ok=True)
    log_file.write_text("", encoding="utf-8")
    try:
        with staging.staged(cache_dir() / "builds" / f"{recipe.name}-{recipe.tag}") as folder:
            make = _debootstrap if recipe.debootstrap else _docker_build
            make(recipe, folder, log_file)
    except CommandFailed as error:
        # Of a command that does not write to it.
        if error.output not in log_file.read_text(encoding="utf-8", errors="replace"):
            with log_file.open("a", encoding="utf-8") as file:
                file.write(error.output)
        tail = "\n".join(error.output.splitlines()[-20:])
        if error.status is None:
            how = f"did not end in {time.monotonic() - started:.0f} s"
            hint = "the next try goes on from what it has compiled; what else keeps this machine's cores busy?"
        else:
            how, hint = "failed", "can this machine reach the package registries?"
        raise InfrastructureError(
            f"{recipe.reference}: its recipe {recipe.name} {how}\n{tail}", hint=f"the whole log is {log_file}; {hint}"
        ) from error
    for alias in recipe.aliases:
        docker("tag", recipes.local_name(recipe.reference), recipes.local_name(alias))
    return time.monotonic() - started


def _debootstrap(recipe: Recipe, folder: Path, log_file: Path) -> None:
    """The suite's root filesystem without documentation, and with the recipe's files as settings of apt.

    Those are for what is installed later: mmdebstrap itself needs the packages that it has downloaded.
    """
    archive = folder / "root.tar"
    mmdebstrap = ["mmdebstrap", "--variant=minbase", "--dpkgopt=path-exclude=/usr/share/doc/*"]
    mmdebstrap += [f'--aptopt={name} "{value}"' for name, value in recipe.args.items()]
    mmdebstrap += [f"--customize-hook=copy-in {path} /etc/apt/apt.conf.d" for _, path in recipe.files()]
    mmdebstrap += ['--customize-hook=rm -f "$1"/var/cache/apt/*.bin']  # apt does not clean what it is told not to use
    run_logged([*mmdebstrap, recipe.tag, str(archive)], timeout=BUILD_SECONDS, log=log_file)
    label = f"LABEL {engine.RECIPE_LABEL}={recipe.digest}"
    docker("import", "--change", label, str(archive), recipes.local_name(recipe.reference), timeout=300)


def _docker_build(recipe: Recipe, folder: Path, log_file: Path) -> None:
    options = ["--label", f"{engine.RECIPE_LABEL}={recipe.digest}", "--tag", recipes.local_name(recipe.reference)]
    for name, value in recipe.args.items():
        # An image goes by another name in the engine if it was built there, and by its own if a registry had it.
        options += ["--build-arg", f"{name}={engine.name_of(value) if value in recipe.needs else value}"]
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
    docker_logged(*command, timeout=BUILD_SECONDS, log=log_file)


def fetch_module(path: str, version: str, folder: Path) -> None:
    """Put the files of a published Go module into `folder`, which is being made or lies in one that is, by the Go
    toolchain in docker: the machine needs none."""
    build([recipes.GOLANG])
    folder.mkdir(parents=True, exist_ok=True)
    mounts = ["-v", f"{folder}:/module"]
    if CERTIFICATES.exists():
        mounts += ["-v", f"{CERTIFICATES}:{CERTIFICATES}:ro"]
    # SELinux would have the container see no file that is not labelled as its own; the folder is ours, and stays so.
    options = ["--rm", "--network", "host", "--security-opt", "label=disable", *mounts]
    docker(
        *("run", "--label", staging.label(folder), *options),
        *(recipes.GOLANG, "go-module", path, version, "/module"),
        timeout=600,
    )


def export_file(reference: str, path: str, target: Path) -> None:
    """Copy the file `path` out of an image, which is built first where it must be; made executable."""
    build([reference])
    with staging.staged(target) as partial:
        name = engine.name_of(reference)
        container = docker("create", "--label", staging.label(partial), name, "none").stdout.strip()
        try:
            copied = partial / target.name
            docker("cp", f"{container}:{path}", str(copied), timeout=120)
            copied.chmod(0o755)
            copied.rename(target)
        finally:
            docker("rm", "-f", container)
