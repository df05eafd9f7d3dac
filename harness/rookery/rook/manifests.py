"""The manifests of a Rook version: where they come from, and what is changed in them before they are applied.

They are parsed and patched as YAML, never edited as text. Patches are functions from objects to new objects.
"""

from __future__ import annotations

import copy
import json
import shutil
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rookery.csi.manifests import OPERATOR_CONFIG
from rookery.errors import InfrastructureError, UsageError
from rookery.machine import locks, staging
from rookery.machine.run import run
from rookery.paths import cache_dir
from rookery.rook.versions import Flavour, Version, known_versions, release_of
from rookery.storage.own_disks import require_own_disks
from rookery.waiting import minutes

Object = dict[str, Any]
Fetch = Callable[[str, Path], bool]
"""Puts deploy/examples of a version (as "1.18.8") into an empty folder; False if this way is not open here."""

EXAMPLES = Path("deploy", "examples")
REQUIRED = ("crds.yaml", "common.yaml", "operator.yaml", "toolbox.yaml", "images.txt")
GO_SECONDS = 300.0
PROBE_SECONDS = 5.0
ARCHIVE_SECONDS = 300.0
PLACED = minutes(1)  # deadline for another process's renaming

OPERATOR = "rook-ceph-operator"
TOOLBOX = "rook-ceph-tools"
CSI_GROUP = "csi.ceph.io"
CSI_OPERATOR = "csi-operator.yaml"

GIVEN = "--rook-manifests DIR, the folder deploy/examples of that version"


class NoSuchRelease(Exception):
    """A source answered, and says that there is no such version."""


def manifests_for(version: str, directory: Path | None = None, fetch: Sequence[Fetch] = ()) -> Path:
    """The deploy/examples folder of `version` ("1.18.8").

    `directory` (a folder of manifests, or a checkout of Rook) is used as it is. Otherwise they come from Rook's Go
    module where there is `go`, from the project's release archive, or from one of the `fetch` hooks, and are cached.

    Raises `UsageError` for a version that is not known or that nobody has, `InfrastructureError` when no source
    answers.
    """
    release_of(version)
    if directory is not None:
        return given(directory)
    name = str(Version.parse(version))
    cached = cache_dir() / "rook" / name
    if _is_complete(cached):
        return cached
    with staging.staged(cached) as partial:
        fetched = partial / "examples"
        _fetch(name, fetched, (from_go_module, from_release_archive, *fetch))
        with locks.held(partial.parent, within=PLACED):
            # Another process may have fetched them meanwhile, and be reading them.
            if not _is_complete(cached):
                staging.discard(cached)
                fetched.rename(cached)
    return cached


def given(directory: Path) -> Path:
    """The manifests in a folder of them, or in a checkout of Rook. Raises `UsageError` if they are in neither."""
    for candidate in (directory, directory / EXAMPLES):
        if _is_complete(candidate):
            return candidate
    raise UsageError(
        f"--rook-manifests {directory} does not hold Rook's manifests ({', '.join(REQUIRED)})",
        hint="a checkout of Rook, or its folder deploy/examples",
    )


def require_usable(given_as: str) -> None:
    """See that what `--rook-manifests` names can be read and takes no disk; raises `UsageError`."""
    option, hint = f"--rook-manifests {given_as}", "a checkout of Rook, or its folder deploy/examples"
    directory = given(Path(given_as))
    try:
        objects = [each for path in applied_from(directory) for each in load(directory, [path])]
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UsageError(f"{option}: {error}", hint=hint) from error
    if strange := [each for each in objects if not isinstance(each, dict) or not each.get("kind")]:
        raise UsageError(f"{option}: {strange[0]!r:.80} is no object of Kubernetes", hint=hint)
    try:
        require_own_disks(objects, ())
    except UsageError as error:
        raise UsageError(f"{option}: {error.message}", hint=error.hint) from error


def applied_from(directory: Path) -> list[str]:
    """The files of which objects are applied, whatever else is there."""
    names = [name for name in REQUIRED if name.endswith(".yaml")]
    return [*names, CSI_OPERATOR] if (directory / CSI_OPERATOR).exists() else names


def from_go_module(version: str, dest: Path) -> bool:
    """Copy them out of Rook's Go module; needs `go` and a module proxy, or the module in go's cache."""
    if shutil.which("go") is None:
        return False
    argv = ["go", "mod", "download", "-json", f"github.com/rook/rook@v{version}"]
    done = run(argv, timeout=GO_SECONDS, check=False)
    answer = json.loads(done.stdout) if done.stdout.strip().startswith("{") else {}
    if done.returncode != 0 or "Error" in answer:
        reason = answer.get("Error") or done.stderr
        if "unknown revision" in reason:
            raise NoSuchRelease(reason)
        raise InfrastructureError(
            f"go mod download: {reason.strip()}", hint=f"which module proxy is asked: go env GOPROXY; else {GIVEN}"
        )
    _copy_examples(Path(answer["Dir"]) / EXAMPLES, dest)
    return True


def from_release_archive(version: str, dest: Path) -> bool:
    """Take them out of the archive of the tag on github.com."""
    url = f"https://github.com/rook/rook/archive/refs/tags/v{version}.tar.gz"
    with tempfile.NamedTemporaryFile(suffix=".tar.gz", dir=dest.parent) as archive:
        try:
            _download(url, Path(archive.name))
        except urllib.error.HTTPError as error:
            if error.code == 404:
                raise NoSuchRelease(f"{url}: {error}") from error
            raise InfrastructureError(f"{url}: {error}", hint=GIVEN) from error
        except OSError as error:
            raise InfrastructureError(
                f"{url}: {error}", hint=f"is a proxy needed (https_proxy)? else {GIVEN}"
            ) from error
        _extract_examples(Path(archive.name), dest)
    return True


def images_txt(directory: Path) -> list[str]:
    """The images that the version uses, by its own list; the operator's first, as it is the one always needed."""
    images = [line.strip() for line in (directory / "images.txt").read_text(encoding="utf-8").splitlines()]
    return sorted((image for image in images if image), key=lambda image: "rook/ceph:" not in image)


def load(directory: Path, names: Iterable[str]) -> list[Object]:
    """The objects of these files, in their order."""
    objects: list[Object] = []
    for name in names:
        with (directory / name).open(encoding="utf-8") as file:
            objects += [document for document in yaml.load_all(file, Loader=_LOADER) if document]
    return objects


def operator_image(directory: Path) -> str:
    """The image of the operator, as operator.yaml names it."""
    deployment = _only(load(directory, ["operator.yaml"]), "Deployment", OPERATOR)
    return _containers(deployment)[0]["image"]


@dataclass(frozen=True)
class Stage:
    """Objects that can be applied at once, and the CRDs that must be established before the next stage."""

    objects: list[Object]
    establish: tuple[str, ...] = ()


def operator_stages(
    directory: Path,
    flavour: Flavour,
    *,
    ceph_csi: bool,
    settings: Mapping[str, str] | None = None,
    image: str | None = None,
) -> list[Stage]:
    """What brings the operator up, in the order the flavour needs.

    Without `ceph_csi` nothing that deploys ceph-csi is left in it. `settings` go into the operator's ConfigMap on top
    of `operator_settings`; `image` replaces the operator's.
    """
    base = load(directory, ["crds.yaml", "common.yaml"])
    operator = with_settings(
        load(directory, ["operator.yaml"]), {**operator_settings(flavour, ceph_csi=ceph_csi), **(settings or {})}
    )
    if image is not None:
        operator = with_image(operator, OPERATOR, image)
    if flavour is Flavour.CSI_IN_OPERATOR:
        return [Stage(base + operator)]
    csi_operator = load(directory, [CSI_OPERATOR])
    if flavour is Flavour.CSI_OPERATOR_BY_SETTING:
        return [Stage(base + (csi_operator if ceph_csi else []) + operator)]
    if ceph_csi:
        # operator.yaml holds objects of the kinds that csi-operator.yaml defines.
        return [Stage(base + csi_operator, establish=_names_of_crds(csi_operator)), Stage(operator)]
    # The operator writes a CephConnection and a ClientProfile for every cluster, whoever reads them: without their
    # CRDs it never gets past the mons.
    return [Stage(base + [each for each in csi_operator if _is_crd(each)] + without_csi_objects(operator))]


def before_operator(stages: Sequence[Stage]) -> list[Stage]:
    """The same without the operator's Deployment and settings, and with every CRD established: what an upgrade applies
    before it touches the operator."""
    left = [[each for each in stage.objects if not _is_operators(each)] for stage in stages]
    return [Stage(objects, _names_of_crds(objects)) for objects in left if objects]


def settings_of_operator(stages: Sequence[Stage]) -> Object:
    """The operator's ConfigMap in these stages."""
    return _only([each for stage in stages for each in stage.objects], "ConfigMap", OPERATOR_CONFIG)


def _is_operators(each: Object) -> bool:
    return (each["kind"], each["metadata"]["name"]) in (("Deployment", OPERATOR), ("ConfigMap", OPERATOR_CONFIG))


def operator_settings(flavour: Flavour, *, ceph_csi: bool) -> dict[str, str]:
    """Keys of the operator's ConfigMap; those for ceph-csi only where the flavour reads them."""
    settings = {"ROOK_CEPH_ALLOW_LOOP_DEVICES": "true"}
    if not ceph_csi and flavour is not Flavour.CSI_OPERATOR_ALWAYS:
        settings |= dict.fromkeys(("ROOK_CSI_ENABLE_RBD", "ROOK_CSI_ENABLE_CEPHFS", "ROOK_USE_CSI_OPERATOR"), "false")
    return settings


def with_settings(objects: Iterable[Object], settings: Mapping[str, str]) -> list[Object]:
    """The objects with `settings` merged into the operator's ConfigMap."""

    def patch(config: Object) -> None:
        config["data"] = {**config.get("data", {}), **settings}

    return _patched(objects, "ConfigMap", OPERATOR_CONFIG, patch)


def with_image(objects: Iterable[Object], deployment: str, image: str) -> list[Object]:
    """The objects with every container of that Deployment running `image`."""

    def patch(found: Object) -> None:
        for container in _containers(found):
            container["image"] = image

    return _patched(objects, "Deployment", deployment, patch)


def without_csi_objects(objects: Iterable[Object]) -> list[Object]:
    """The objects without those that make the CSI operator deploy ceph-csi."""
    return [each for each in objects if each["apiVersion"].split("/")[0] != CSI_GROUP]


def toolbox(directory: Path, ceph_image: str) -> list[Object]:
    """The toolbox, with the cluster's image: the one its manifest names is another version of Ceph."""
    return with_image(load(directory, ["toolbox.yaml"]), TOOLBOX, ceph_image)


def crd_has_field(objects: Iterable[Object], kind: str, field: str) -> bool:
    """Whether the CRD of `kind` knows `field` ("spec.security.cephx.csi.keyType"); lists are stepped into."""
    schema = crd_schema(objects, kind)
    for name in field.split("."):
        schema = schema.get("items", schema).get("properties", {}).get(name)
        if schema is None:
            return False
    return True


def crd_schema(objects: Iterable[Object], kind: str) -> Object:
    """The OpenAPI schema by which the API server checks (and prunes) objects of `kind`; raises `KeyError` if none."""
    for each in objects:
        if _is_crd(each) and each["spec"]["names"]["kind"] == kind:
            return each["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    raise KeyError(kind)


# libyaml is ten times faster on crds.yaml, which is two megabytes; both loaders are the safe ones.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _is_complete(directory: Path) -> bool:
    return all((directory / name).is_file() for name in REQUIRED)


def _fetch(version: str, dest: Path, sources: Sequence[Fetch]) -> None:
    failures: list[str] = []
    for source in sources:
        try:
            if source(version, dest) and _is_complete(dest):
                return
        except NoSuchRelease as error:
            raise UsageError(f"there is no Rook {version}: {error}", hint=f"known are {known_versions()}") from error
        except InfrastructureError as error:
            failures.append(error.message)
        shutil.rmtree(dest, ignore_errors=True)
    raise InfrastructureError(
        "\n  ".join([f"no source has the manifests of Rook {version}", *failures]),
        hint=GIVEN,
    )


def _copy_examples(source: Path, dest: Path) -> None:
    for path in source.rglob("*"):
        if _is_wanted(path):
            target = dest / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())  # not copy(): files of the module cache are read-only


def _extract_examples(archive: Path, dest: Path) -> None:
    """Only plain files below deploy/examples, so that no name in the archive can lead out of `dest`."""
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                parts = Path(member.name).parts
                inside = Path(*parts[3:]) if parts[1:3] == EXAMPLES.parts else Path()
                content = tar.extractfile(member) if member.isfile() and _is_wanted(inside) else None
                if content is not None and ".." not in parts:
                    (dest / inside).parent.mkdir(parents=True, exist_ok=True)
                    (dest / inside).write_bytes(content.read())
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InfrastructureError(f"{archive}: {error}", hint=f"run it again, it may be cut; else {GIVEN}") from error


def _is_wanted(path: Path) -> bool:
    return path.suffix == ".yaml" or path.name == "images.txt"


def _download(url: str, dest: Path) -> None:
    """Into `dest`; no answer within the probe's seconds, or no end within the deadline, is an `OSError`."""
    deadline = time.monotonic() + ARCHIVE_SECONDS
    with urllib.request.urlopen(url, timeout=PROBE_SECONDS) as response, dest.open("wb") as file:
        while chunk := response.read(1 << 16):
            file.write(chunk)
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {ARCHIVE_SECONDS:.0f} s")


def _patched(objects: Iterable[Object], kind: str, name: str, patch: Callable[[Object], None]) -> list[Object]:
    """Copies of the objects, with `patch` done to that one; a manifest without it is not what we think it is."""
    copies = [copy.deepcopy(each) for each in objects]
    patch(_only(copies, kind, name))
    return copies


def _only(objects: Iterable[Object], kind: str, name: str) -> Object:
    for each in objects:
        if each["kind"] == kind and each["metadata"]["name"] == name:
            return each
    raise UsageError(
        f"these manifests have no {kind} {name}", hint="a version of Rook that has it, or another --rook-manifests"
    )


def _containers(deployment: Object) -> list[Object]:
    return deployment["spec"]["template"]["spec"]["containers"]


def _is_crd(each: Object) -> bool:
    return each["kind"] == "CustomResourceDefinition"


def _names_of_crds(objects: Iterable[Object]) -> tuple[str, ...]:
    return tuple(each["metadata"]["name"] for each in objects if _is_crd(each))
