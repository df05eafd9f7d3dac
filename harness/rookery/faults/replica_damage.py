"""One copy of an object is not what was written, as after a disk that has lost or mixed up a write."""

from __future__ import annotations

from rookery.errors import Unknown
from rookery.faults.ceph_order import CephOrder
from rookery.rook.surgery import Idle, idle
from rookery.waiting import NotYet

_FOUND, _BAD = "/tmp/found", "/tmp/bad"
_SHORT = 4096  # bytes; the copies are larger, so that the damage is seen by the size alone


class ReplicaDamage(CephOrder):
    name = "replica damage"
    does = "Cuts one copy of an object short in the store of an OSD that is stopped; healed, its PG is told to repair."
    needs = "Rook; an object of a replicated pool, of more than 4 KiB."
    loses = "that copy; the others are intact, the primary's among them."
    not_drawn = "only a scenario has an object that may be damaged."

    def __init__(self, pool: str, name: str) -> None:
        super().__init__(f"{pool}/{name}")
        self._pool, self._object = pool, name
        self._sizes = (0, 0)  # of the copy, before and after, in bytes
        self.pg, self.osd = "", -1

    def prepare(self) -> None:
        placed = self.rook.placed(self._pool, self._object).wait()
        self.pg, self.osd = placed.pg, placed.osds[-1]

    def act(self) -> None:
        """Raises `Unknown` for a copy that is as small already."""
        with idle(self.rook, "osd", str(self.osd)) as osd:
            before = self._size_in(osd)
            if before <= _SHORT:
                raise Unknown(f"{self.name} can do nothing to a copy of {before} bytes")
            osd.sh(f"head -c {_SHORT} /dev/urandom > {_BAD}; {self._tool('set-bytes', _BAD)}")
            self._sizes = before, self._size_in(osd)

    def effective(self) -> str:
        before, after = self._sizes
        if after != _SHORT:
            raise NotYet(f"osd.{self.osd} has {after} bytes of it")
        return f"of {before} bytes osd.{self.osd} has {after}, PG {self.pg}"

    def undo(self) -> None:
        if self.pg:
            self.order("pg", "repair", self.pg)

    def check_healed(self) -> None:
        states = {pg.id: pg.state for pg in self.rook.pgs()}
        if "inconsistent" in states.get(self.pg, ""):
            raise NotYet(f"PG {self.pg} is {states[self.pg]}")

    def _size_in(self, osd: Idle) -> int:
        return int(osd.sh(f"{self._tool('get-bytes', _FOUND)}; stat -c %s {_FOUND}").split()[-1])

    def _tool(self, does: str, file: str) -> str:
        store = f"--data-path /var/lib/ceph/osd/ceph-{self.osd}"
        return f"rm -f {_FOUND}; ceph-objectstore-tool {store} --pgid {self.pg} {self._object} {does} {file} >&2"
