"""What a node's kubelet says in its journal, looked for by signature: no API has it, and it is there without one."""

from __future__ import annotations

import re

from rookery.cluster.nodes import kubelet_lines
from rookery.kube.symptoms import SHOWN, seen
from rookery.signatures import Signature
from rookery.waiting import Condition, NotYet


def kubelet_log(node: str, signature: Signature) -> Condition[str]:
    """The kubelet of the node says it; its value is the line that does."""

    def condition(since: float = 0.0) -> str:
        begin, *_ = signature.text.split("…")
        if line := signature.line_in("\n".join(kubelet_lines(node, re.escape(begin), since))):
            return seen(signature, line)
        raise NotYet(f"the kubelet of {node} has not said {signature.text!r}")

    return Condition(f"the kubelet of {node} to say {signature.text!r}", condition, within=SHOWN)
