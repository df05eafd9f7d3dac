"""What of the network can be reached from here."""

from __future__ import annotations

import http.client
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable

REGISTRIES = {
    "quay.io": "https://quay.io/v2/",
    "docker.io": "https://registry-1.docker.io/v2/",
    "registry.k8s.io": "https://registry.k8s.io/v2/",
}


def answering(urls: Iterable[str], *, within: float = 3) -> set[str]:
    """Those of the URLs at which an HTTP server answers anything at all within so many seconds, asked all at once."""
    asked = set(urls)
    answers: queue.Queue[tuple[str, bool]] = queue.Queue()
    deadline = time.monotonic() + within
    for url in asked:
        # Daemons, which nobody waits for: looking up a name knows no time-out of its own.
        threading.Thread(target=lambda url=url: answers.put((url, _answers(url, within))), daemon=True).start()
    reached = set()
    for _ in asked:
        try:
            url, answered = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if answered:
            reached.add(url)
    return reached


def reachable_registries(*, within: float = 3) -> set[str]:
    """The public image registries that can be reached: "quay.io", "docker.io", "registry.k8s.io"."""
    reached = answering(REGISTRIES.values(), within=within)
    return {name for name, url in REGISTRIES.items() if url in reached}


def _answers(url: str, timeout: float) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=timeout):
            return True
    except urllib.error.HTTPError:
        return True  # such as 401, which a registry answers to everybody at first
    except (OSError, http.client.HTTPException):
        return False
