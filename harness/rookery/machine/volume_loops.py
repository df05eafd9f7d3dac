"""The loop devices that serve volumes on nodes: known as long as a node runs, and stale when their server is dead."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from rookery.errors import DeadlineExceeded
from rookery.machine import loop
from rookery.waiting import NotYet, wait_for_machine

PLUGIN_PATH = "/plugins/rbd.userspace.csi.rookery.io/"


def volume_loops(nodes: Iterable[str]) -> dict[int, int]:
    """The loop devices that serve volumes on these nodes, each number with the sequence number of its attachment.

    The driver keeps a volume's file in a folder that bears its node's name. Once the node is dead the kernel tells no
    path any more, so ask before.
    """
    folders = [f"{PLUGIN_PATH}{node}/" for node in nodes]
    found = [n for n, file in loop.attached().items() if any(folder in file for folder in folders)]
    return {number: loop.sequence(number) for number in found}


def detach_stale(numbers: Collection[int]) -> list[int]:
    """Detach those of these loop devices whose server is dead, and what was put on top of them; returns the numbers of
    the former."""
    found = [number for number in loop.attached() if number in numbers and _found_stale(number)]
    for number in found:
        for above in loop.stacked_on(number):
            loop.detach(above, loop.is_node_of(number))
    return [number for number in found if loop.detach(number, loop.server_died)]


def _found_stale(number: int) -> bool:
    def dead() -> None:
        if not loop.is_stale(number):
            raise NotYet("its server answers")

    try:
        # A FUSE server lets the kernel remember a file's attributes, usually for a second; so long it seems alive.
        wait_for_machine(dead, what=f"{loop.device(number)} to be known for dead", within=2)
    except DeadlineExceeded:
        return False
    return True
