"""Ceph takes its OSDs for full, as they are when nobody has looked at their use for long enough."""

from __future__ import annotations

from typing import Any

from rookery.faults.ceph_order import CephOrder
from rookery.waiting import NotYet

FULL = "OSD_FULL"
# Below what an empty OSD has in use (its own database), so nothing has to be filled.
_RATIOS = {"nearfull": 0.00001, "backfillfull": 0.00002, "full": 0.00003}


class FullRatio(CephOrder):
    name = "full ratio"
    does = "Lowers the ratios from which Ceph takes an OSD for full below what is in use; healed, they are as before."
    needs = "Rook."
    loses = "nothing: what is refused hangs, and is written once there is room."
    not_drawn = "nobody writes while it lasts: a scenario says what is to hang, and what is to be refused."

    def __init__(self) -> None:
        super().__init__("every OSD")
        self._before: dict[str, float] = {}

    def prepare(self) -> None:
        osdmap = self.rook.ask("osd dump")
        self._before = {name: round(osdmap[f"{name}_ratio"], 6) for name in _RATIOS}

    def act(self) -> None:
        for name, ratio in _RATIOS.items():
            self._set(name, ratio)

    def effective(self) -> str:
        (found,) = [check.summary for check in self.rook.health().checks if check.code == FULL] or [""]
        if not found:
            raise NotYet(f"Ceph does not say {FULL}")
        return found

    def undo(self) -> None:
        for name in reversed(self._before):  # from the top, so that none is above the next
            self._set(name, self._before[name])

    def check_healed(self) -> None:
        if found := [check.summary for check in self.rook.health().checks if check.code.endswith("FULL")]:
            raise NotYet("; ".join(found))

    def _set(self, name: str, ratio: float) -> Any:
        # Not in the form 1e-05: the mons take it for no number.
        self.order("osd", f"set-{name}-ratio", f"{ratio:f}")
