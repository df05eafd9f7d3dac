"""Docker as the resolution of images sees it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from rookery.images import build, engine, recipes
from rookery.images.engine import LocalImage
from rookery.machine.run import CommandFailed

CEPH = "quay.io/ceph/ceph:v18.2.7"
CASSANDRA = "docker.io/library/cassandra:5.0.6"
REAL_BUILD = build.build


@dataclass
class FakeDocker:
    """Images by name, what registries have, and what was asked for."""

    images: dict[str, LocalImage] = field(default_factory=dict)
    registry: set[str] = field(default_factory=set)
    built: dict[str, str] = field(default_factory=dict)  # what registries have of ours, and the digests of the recipes
    asked: list[str] = field(default_factory=list)

    def has(self, reference: str, recipe: str = "", pulled: bool = True) -> None:
        """An image; one that a recipe made is known by its local name."""
        name = recipes.local_name(reference) if recipe and recipes.find(reference) else recipes.canonical(reference)
        image_id = f"sha256:{reference}{recipe}"
        self.images[name] = LocalImage(image_id, 1, "2026-11-24T08:00:00Z", recipe, name, pulled)

    def inspect(self, reference: str) -> LocalImage | None:
        return self.images.get(recipes.canonical(reference))

    def save(self, references: list[str], path: str) -> None:
        Path(path).write_text(json.dumps([recipes.canonical(reference) for reference in references]), encoding="utf-8")

    def load(self, path: str) -> None:
        self.asked.append("load")
        for entry in json.loads(Path(path).with_suffix(".json").read_text(encoding="utf-8")):
            self.has(entry["reference"], entry["recipe"], pulled=False)

    def docker(self, command: str, *args: str, **_: object) -> None:
        self.asked.append(" ".join((command, *args)))
        if command == "pull":
            if args[-1] not in self.registry:
                raise CommandFailed(["docker", "pull", args[-1]], 1, "not found")
            self.has(args[-1], self.built.get(args[-1], ""))
        elif command == "tag":
            self.images[args[1]] = self.images[args[0]]

    def build_one(self, recipe: recipes.Recipe) -> float:
        for need in recipe.needs:
            assert engine.usable(need), f"{recipe.reference} is begun before {need} is there"
        self.asked.append(f"build {recipe.reference}")
        for name in (recipe.reference, *recipe.aliases):
            self.has(name, recipe.digest)
        return 0.0

    def build(self, references: list[str]) -> None:
        for reference in references:
            self.asked.append(f"build {reference}")
            self.has(reference, recipes.require(reference).digest)
