"""Which registry is asked for the images of which other: `--registry-mirror`.

It is text, as a setting is: `[REGISTRY=]HOST[:PORT][/PREFIX]`, several of them with commas in between. One without a
registry serves the images of all that have none of their own. A mirror has them under their own paths, behind the
prefix: `quay.io/ceph/ceph:v1` is `HOST/PREFIX/ceph/ceph:v1`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from rookery.errors import UsageError
from rookery.images import recipes

HOST = r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?"
PATH = r"[a-z0-9]+([._-]+[a-z0-9]+)*"
_MIRROR = re.compile(rf"{HOST}(/{PATH})*")
_HINT = (
    "HOST:PORT/PREFIX for all registries, or quay.io=HOST:PORT/PREFIX for one of them: a name or address, with a port "
    "if need be, and without a scheme"
)


@dataclass(frozen=True)
class Mirrors:
    """The mirror of each registry that has one of its own, and that of all others; empty for none."""

    one: Mapping[str, str] = field(default_factory=dict)
    others: str = ""

    @classmethod
    def parse(cls, text: str | None) -> Mirrors:
        """Those of the setting. Raises `UsageError` for what is no mirror, and for a second one of a registry."""
        found: dict[str, str] = {}
        for each in text.split(",") if text else ():
            registry, equals, mirror = each.rpartition("=")
            if equals and not _is_registry(registry):
                raise UsageError(
                    f"--registry-mirror {each}: {registry!r} is no registry",
                    hint="quay.io, docker.io, registry.k8s.io, ...",
                )
            if not _MIRROR.fullmatch(mirror):
                raise UsageError(f"--registry-mirror {each}: not the host of a registry", hint=_HINT)
            if registry in found:
                raise UsageError(
                    f"--registry-mirror {each}: {registry or 'all registries'} had {found[registry]} already",
                    hint=_HINT,
                )
            found[registry] = mirror
        return cls({registry: mirror for registry, mirror in found.items() if registry}, found.get("", ""))

    def of_registry(self, registry: str) -> str:
        """The mirror that is asked in place of that registry; empty where there is none."""
        return self.one.get(registry, self.others)

    def of(self, reference: str) -> str:
        """The mirror that is asked for an image; empty where its own registry is, and of the harness's own images."""
        full = full_name(reference)
        return "" if full.startswith("localhost/") else self.of_registry(full.partition("/")[0])

    def source(self, reference: str) -> str:
        """The name by which an image is pulled."""
        full, mirror = full_name(reference), self.of(reference)
        return f"{mirror}/{full.partition('/')[2]}" if mirror else full


NONE = Mirrors()


def full_name(reference: str) -> str:
    """With the registry, also of kind's node image, whose name stays `kindest/node` elsewhere."""
    full = recipes.canonical(reference)
    return f"docker.io/{full}" if full.startswith("kindest/") else full


def _is_registry(name: str) -> bool:
    """As the first part of an image's name is told from a folder; see `recipes.canonical`."""
    return bool(re.fullmatch(HOST, name)) and ("." in name or ":" in name)
