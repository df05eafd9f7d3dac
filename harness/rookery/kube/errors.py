"""What the Kubernetes API can answer instead of what was asked for."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from rookery.errors import InfrastructureError
from rookery.kube.objects import value_of
from rookery.waiting import NotYet


class KubeError(InfrastructureError):
    """The API server refused a request: `status` is the HTTP status, 0 when there was no answer at all.

    `about` is the kind of object the refusal is about ("namespaces", "pods", ...), empty when the server did not say:
    a 404 about nothing means that the path itself is not served (yet), as right after a CRD was made.
    """

    next_step = "ask the same with `kubectl`, of the cluster that --keep-cluster leaves"

    def __init__(self, message: str, *, status: int = 0, about: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint or self.next_step)
        self.status = status
        self.about = about


class ApiUnavailable(KubeError):
    """No answer, or one that says "later": a refused connection, 5xx, 429, or 401 while the server is still booting."""

    next_step = "logs/ of the scenario says whether the API server, its etcd or its node stopped"


class ExecFailed(InfrastructureError):
    """A command in a pod ended with another status than 0, or (`status` None) did not end in time."""

    def __init__(self, what: str, status: int | None, output: str) -> None:
        how = "did not end in time" if status is None else f"ended with status {status}"
        hint = "logs/ of the scenario has the pod's log and its node's; --keep-cluster leaves the pod to `kubectl exec`"
        super().__init__(f"{what}: {how}\n{output.strip()[-4000:]}".rstrip(), hint=hint)
        self.status = status
        self.output = output


@contextlib.contextmanager
def retry_while_api_unavailable() -> Iterator[None]:
    """For conditions, as `with` or as decorator: an API server that cannot answer is a reason to wait, not a failure.

    Everything else it says (403, 404, 422) is a fault of the condition, and ends the wait at once.
    """
    try:
        yield
    except ApiUnavailable as error:
        raise NotYet(f"API: {error.message}") from error


@dataclass(frozen=True)
class Refusal:
    """The parts of a `Status` object that say why a request was refused.

    https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
    """

    message: str
    about: str

    @classmethod
    def parse(cls, body: str | bytes | None) -> Refusal:
        text = body.decode(errors="replace") if isinstance(body, bytes) else body or ""
        try:
            status = json.loads(text)
        except ValueError:
            return cls(text.strip(), "")
        if not isinstance(status, dict):
            return cls(text.strip(), "")
        return cls(str(status.get("message") or text), value_of(status, "details", "kind", default=""))


def refused(request: str, status: int, body: str | bytes | None) -> KubeError:
    """The error for an answer with HTTP `status`; `request` is what was asked, as "GET /api/v1/..."."""
    refusal = Refusal.parse(body)
    later = status in (0, 401, 429) or status >= 500
    kind = ApiUnavailable if later else KubeError
    return kind(f"{request}: {status} {refusal.message}".rstrip(), status=status, about=refusal.about)
