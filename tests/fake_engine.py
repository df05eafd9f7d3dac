"""A docker engine that has containers, volumes and images, and none of them runs."""

from __future__ import annotations

import json
from itertools import count
from types import SimpleNamespace

from rookery.machine.run import CommandFailed


class FakeEngine:
    """Answers those commands of docker's that decoys are made with; a container is what inspecting it tells."""

    def __init__(self) -> None:
        self.containers: dict[str, dict] = {}
        self.volumes: dict[str, dict] = {}
        self.images: list[str] = []
        self.fails: set[str] = set()  # commands that do, after what they are for is done
        self.refuses: set[str] = set()  # commands that do nothing
        self._ids = (f"{number:064x}" for number in count(0xABC0))

    def output(self, *command, **_):
        return self(*command).stdout.strip()

    def __call__(self, *command, check=True, stdin=None, timeout=60):
        name = "_" + "_".join(command[: 2 if command[0] in ("container", "volume", "image") else 1])
        status, printed = getattr(self, name)(*command, stdin=stdin)
        if command[0] in self.fails:
            raise OSError(f"docker {command[0]} failed")
        if status != 0 and check:
            raise CommandFailed(["docker", *command], status, "")
        return SimpleNamespace(returncode=status, stdout=printed)

    def made(self, name, **labels):
        """A container of somebody else's; its id."""
        created = self(
            "create", "--name", name, *(f"--label={key}={value}" for key, value in labels.items()), "i", "true"
        )
        return created.stdout.strip()

    def names(self):
        return sorted(each["Name"].removeprefix("/") for each in self.containers.values())

    def _import(self, *command, stdin):
        assert stdin == "\0" * 10240
        self.images.append(command[-1])
        return 0, "sha256:0"

    def _create(self, *command, stdin):
        name = command[command.index("--name") + 1]
        if name in self.names():
            return 1, ""
        labels = [each.removeprefix("--label=").split("=", 1) for each in command if each.startswith("--label=")]
        identity = next(self._ids)
        self.volumes[f"of-{identity}"] = {"Name": f"of-{identity}", "Labels": {}}
        self.containers[identity] = {
            "Id": identity,
            "Name": f"/{name}",
            "Config": {"Labels": dict(labels), "Image": command[-2]},
            "State": {"Status": "created"},
            "Mounts": [{"Type": "volume", "Name": f"of-{identity}"}],
        }
        return 0, f"{identity}\n"

    def _ps(self, *command, stdin):
        found = dict(self.containers)
        if "--filter" in command:
            key, _, value = command[command.index("--filter") + 1].removeprefix("label=").partition("=")
            found = {i: c for i, c in found.items() if c["Config"]["Labels"].get(key) == value}
        if "{{.ID}} {{.Names}}" in command:
            return 0, "\n".join(f"{i} {c['Name'][1:]}" for i, c in found.items())
        if "{{.Names}}" in command:
            return 0, "\n".join(each["Name"][1:] for each in found.values())
        return 0, "\n".join(found)

    def _container_inspect(self, *command, stdin):
        found = self.containers.get(command[-1])
        return (0, json.dumps([found])) if found else (1, "[]")

    def _volume_ls(self, *command, stdin):
        return 0, "\n".join(name if "-q" in command else f"{name} {name}" for name in self.volumes)

    def _network(self, *command, stdin):
        return 0, ""

    def _rm(self, *command, stdin):
        if "rm" in self.refuses:
            return 1, ""
        for identity in command:
            if removed := self.containers.pop(identity, None):
                self.volumes.pop(removed["Mounts"][0]["Name"], None)
        return 0, ""

    def _image_rm(self, *command, stdin):
        if command[-1] not in self.images:
            return 1, ""
        self.images.remove(command[-1])
        return 0, ""
