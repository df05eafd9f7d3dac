"""Who has an image open, and whether that stands in the way of exporting it here.

A client that has an image open for writing watches its header object; after the first write it holds the exclusive
lock as well. qemu opens images for writing even when it is to read only, so a reader watches too; but it never takes
the lock. The watch of a client that was killed, or is cut off, lasts 30 s (`osd_client_watch_timeout`), after the death
of an OSD from when somebody looks at the image. Who holds the lock and does not watch any more is gone by librbd's own
rule (its BreakRequest), but one that is only cut off comes back and writes, unless it is fenced before. One client is
known to be dead sooner: the exporter that this same node recorded and that does not run any more.

https://docs.ceph.com/en/latest/rbd/rbd-exclusive-locks/
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Client:
    """An instance of librados: its id is unique in the life of a Ceph cluster, its address names one process."""

    id: int
    address: str  # "10.244.1.1:0/3212345": the number after the slash is the nonce, new with each instance

    def __str__(self) -> str:
        return f"client.{self.id} at {self.address}"


@dataclass(frozen=True)
class Locker:
    """A client that holds the image's lock, by the cookie it took it with."""

    client: Client
    cookie: str


@dataclass(frozen=True)
class ImageUse:
    """Who watches and who has locked an image, at one instant."""

    watchers: tuple[Client, ...] = ()
    lockers: tuple[Locker, ...] = ()


@dataclass(frozen=True)
class Blocklist:
    """The clients that the OSDs refuse to serve."""

    addresses: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Blocklist:
        """Of `ceph osd blocklist ls` as JSON: a list of addresses and, behind it, one of ranges, as Ceph 18 prints it.

        Ranges fence whole networks for disaster recovery between clusters; nothing here makes or needs them.
        """
        decoder, addresses, rest = json.JSONDecoder(), set(), text.strip()
        while rest:
            entries, end = decoder.raw_decode(rest)
            addresses |= {entry["addr"] for entry in entries if "addr" in entry}
            rest = rest[end:].strip()
        return cls(frozenset(addresses))

    def covers(self, client: Client) -> bool:
        """Whether this client is blocklisted, by its own address or with all clients of its host (nonce 0)."""
        host = client.address.rpartition(":")[0]
        return client.address in self.addresses or f"{host}:0/0" in self.addresses


@dataclass(frozen=True)
class Verdict:
    """What has to happen before the image may be exported."""

    others: tuple[Client, ...] = ()  # alive as far as we know: hands off
    dead: tuple[Client, ...] = ()  # ours, and those who hold the lock and are gone: fence them
    broken: tuple[Locker, ...] = ()  # theirs: break these locks, after the fencing


def examine(use: ImageUse, *, ours: Collection[int], blocklist: Blocklist, reading: bool = False) -> Verdict:
    """Sort the clients of an image; `ours` are ids of clients of this node that are known to be dead.

    A writer may have no other client beside it; one who is only `reading`, none that has written.

    A lock without a watch stands in nobody's way. Who comes to write fences its holder; to a reader it does not matter.
    """
    watching = {client.id for client in use.watchers}
    gone = {locker.client.id for locker in use.lockers if not reading and locker.client.id not in watching}
    broken = tuple(locker for locker in use.lockers if locker.client.id in {*ours, *gone})
    mine = [client for client in use.watchers if client.id in ours]
    others = [client for client in use.watchers if client.id not in ours and not blocklist.covers(client)]
    if reading:
        writers = {locker.client.id for locker in use.lockers}
        others = [client for client in others if client.id in writers]
    return Verdict(
        others=_unique(others),
        dead=_unique([*mine, *(locker.client for locker in broken)]),
        broken=broken,
    )


def _unique(clients: Iterable[Client]) -> tuple[Client, ...]:
    return tuple(dict.fromkeys(clients))
