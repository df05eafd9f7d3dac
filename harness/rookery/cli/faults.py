"""`rookery faults`: every fault that there is."""

from __future__ import annotations

import argparse
import json

from rookery.faults import ALL
from rookery.faults.fault import Fault


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Lists every fault: what it does, what it needs, what it loses, and whether this machine can do it. Whether a "
        "cluster can is seen when it is injected. Looks and changes nothing."
    )
    parser.epilog = "a fault in a scenario: with cluster.fault(NodeKill(cluster.nodes.node_names)) as injected: ..."
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print JSON")
    shape.add_argument("--markdown", action="store_true", help="print the table of docs/faults.md")


def run(arguments: argparse.Namespace) -> int:
    if arguments.json:
        print(json.dumps([_described(fault) for fault in ALL], indent=1))
    elif arguments.markdown:
        print(markdown(), end="")
    else:
        for fault in ALL:
            lacks = fault.machine_lacks()
            print(f"{fault.name} ({fault.__name__}){f': not on this machine: {lacks}' if lacks else ''}")
            print(f"  {fault.does}\n  needs: {fault.needs}\n  loses: {fault.loses}")
            if not fault.heals:
                print("  does not heal: the cluster is restored afterwards")
            elif fault.not_drawn:
                print(f"  not drawn: {fault.not_drawn}")
    return 0


def markdown() -> str:
    """The table of docs/faults.md, which says nothing of a machine."""
    rows = [
        f"| {fault.name} (`{fault.__name__}`) | {fault.does} | {fault.needs} | {fault.loses} | "
        f"{'yes' if fault.heals else 'by a restored cluster'} |"
        for fault in ALL
    ]
    head = ["| fault | what it does | what it needs | what it loses | heals |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *rows]) + "\n"


def _described(fault: type[Fault]) -> dict[str, object]:
    lacks = fault.machine_lacks()
    return {
        "name": fault.name,
        "class": fault.__name__,
        "does": fault.does,
        "needs": fault.needs,
        "loses": fault.loses,
        "loses_unsynced": fault.loses_unsynced,
        "heals": fault.heals,
        "not_drawn": fault.not_drawn or None,
        "possible": lacks is None,
        "why_not": lacks,
    }
