"""One client of the Kubernetes API, for objects as plain dictionaries.

Requests go through `DynamicClient.request` of the official package: the one entry that takes and returns plain data
in the releases 35 to 37, of which 37 changed nearly everything else. Its discovery is not used: it asks without a
deadline, and keeps what it found in a file in /tmp that outlives the cluster.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import datetime
import ipaddress
import json
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import urllib3
from kubernetes import client as kubernetes_client
from kubernetes import config as kubernetes_config
from kubernetes.client.rest import ApiException
from kubernetes.config import ConfigException
from kubernetes.dynamic import DynamicClient

from rookery.errors import DeadlineExceeded, UsageError
from rookery.kube import podexec
from rookery.kube.errors import ApiUnavailable, KubeError, refused
from rookery.kube.objects import Object, items_of, value_of
from rookery.kube.streams import Stream
from rookery.kube.watching import Watch
from rookery.machine import staging
from rookery.paths import cache_dir
from rookery.waiting import NotYet, wait_for

FIELD_MANAGER = "rookery"
REQUEST_SECONDS = 15.0
CONNECT_SECONDS = 3.0
APPLY_SECONDS = 30.0  # for one object: the time a new CRD may take until its kind is served
HEALTH_SECONDS = 2.0

_AGGREGATED_DISCOVERY = ",".join(
    f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList" for version in ("v2", "v2beta1")
)

# https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@dataclass(frozen=True)
class ResourceType:
    """Where objects of a kind live in the API."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool
    listable: bool = True

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str | None, name: str = "") -> str:
        """The path of one object, or (no `name`) of all of them; no `namespace` means of all namespaces."""
        parts = ["api" if "/" not in self.api_version else "apis", self.api_version]
        if self.namespaced and namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=""))
        return "/" + "/".join(parts)


class Kube:
    """The API of the cluster that `kubeconfig` names. Safe to use from several threads.

    Every request has a deadline. Raises `ApiUnavailable` when the server does not answer or asks to come back later,
    `KubeError` when it refuses; `retry_while_api_unavailable` turns the former into a reason to wait.

    `guard` sees whatever is to be applied, and each patch as a part of an object with its kind, before the server does;
    it raises for what must not be.
    """

    def __init__(self, kubeconfig: Path, *, guard: Callable[[Object], None] = lambda wanted: None) -> None:
        self.kubeconfig = Path(kubeconfig)
        self._guard = guard
        self._lock = threading.Lock()
        self._types: list[ResourceType] = []
        self._configuration = _configuration(self.kubeconfig)
        self._client = _dynamic_client(self._configuration)

    def reset(self) -> None:
        """Forget connections and discovery, and read the kubeconfig again: for after a node kill."""
        with self._lock:
            self._client.client.rest_client.pool_manager.clear()
            self._configuration = _configuration(self.kubeconfig)
            self._client = _dynamic_client(self._configuration)
            self._types = []

    def healthy(self) -> bool:
        """Whether the API server says that it is ready, within two seconds."""
        try:
            return self._request("GET", "/readyz", timeout=HEALTH_SECONDS) == b"ok"
        except KubeError:
            return False

    def apply(self, objects: Iterable[Object]) -> None:
        """Server-side apply, one after another, taking over fields that others own.

        An object whose kind is not served yet (its CRD has just been applied) is tried again for 30 s, as is one that
        meets an API server which cannot answer: applying twice is harmless.

        https://kubernetes.io/docs/reference/using-api/server-side-apply/
        """
        objects = list(objects)
        for wanted in objects:  # all of them, before the first is there
            self._guard(wanted)
        for wanted in objects:
            self._apply_within_deadline(wanted)

    def dry_run_create(self, wanted: Object) -> None:
        """Have the server check a new object, as `kubectl create --validate=strict --dry-run=server` does.

        Nothing is made. Raises `KubeError` with the server's words for what it would refuse. Fields that no schema
        knows are among that; where it is not asked to be strict it drops them in silence.

        https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation
        """
        metadata = wanted["metadata"]
        path = self._type(wanted["kind"], wanted["apiVersion"]).path(metadata.get("namespace"))
        query = [("dryRun", "All"), ("fieldValidation", "Strict"), ("fieldManager", FIELD_MANAGER)]
        self._request("POST", path, body=wanted, query=query, content_type="application/json")

    def dry_run_apply(self, wanted: Object) -> None:
        """Have the server check a change of an object as `apply` would make it; nothing is changed.

        Raises `KubeError` with the server's words for what it would refuse.
        """
        metadata = wanted["metadata"]
        path = self._type(wanted["kind"], wanted["apiVersion"]).path(metadata.get("namespace"), metadata["name"])
        query = [("dryRun", "All"), ("fieldManager", FIELD_MANAGER), ("force", "true")]
        self._request("PATCH", path, body=wanted, query=query, content_type="application/apply-patch+yaml")

    def get(
        self, kind: str, name: str, *, namespace: str | None = None, api_version: str | None = None
    ) -> Object | None:
        """The object, or None when there is none of that name."""
        try:
            return self._json("GET", self._type(kind, api_version).path(namespace, name))
        except KubeError as error:
            if error.status == 404 and error.about:
                return None
            raise

    def list(
        self,
        kind: str,
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        api_version: str | None = None,
    ) -> builtins.list[Object]:
        """All objects of `kind` (of all namespaces without `namespace`) that the selectors choose."""
        selectors = [("labelSelector", labels), ("fieldSelector", fields)]
        query = [(key, value) for key, value in selectors if value]
        return items_of(self._json("GET", self._type(kind, api_version).path(namespace), query=query), "items")

    def listable_types(self) -> builtins.list[ResourceType]:
        """Every kind that is served now and can be listed, each once, in the version that the server prefers."""
        self._types = self._discover()
        found: dict[tuple[str, str], ResourceType] = {}
        for known in self._types:
            if known.listable:
                found.setdefault((known.group, known.kind), known)
        return list(found.values())

    def list_type(self, listed: ResourceType, *, metadata_only: bool = False) -> builtins.list[Object]:
        """All objects of one of the `listable_types`, with their apiVersion and kind; none if it is served no more.

        With `metadata_only` there is nothing in them but their metadata, which spares the server and the reader the
        rest of large ones.
        """
        accept = _METADATA_LIST if metadata_only else "application/json"
        try:
            items = items_of(self._json("GET", listed.path(None), accept=accept), "items")
        except KubeError as error:
            if error.status == 404:
                return []
            raise
        return [{**item, "apiVersion": listed.api_version, "kind": listed.kind} for item in items]

    @contextlib.contextmanager
    def watch(self, kind: str, name: str, *, namespace: str | None = None, within: float) -> Iterator[Watch]:
        """Be told of what happens to one object, which need not be there yet, for at most `within` seconds.

        When it begins, the server is watching already: nothing that is done from then on is missed. An object that is
        there by then is told first, as it is.
        """
        path = self._type(kind, None).path(namespace)
        query = [("watch", "true"), ("fieldSelector", f"metadata.name={name}"), ("timeoutSeconds", math.ceil(within))]
        request = f"WATCH {path}"
        with _reported(request):
            response = self._respond("GET", path, query=query, timeout=within + CONNECT_SECONDS)
        try:
            yield Watch(_streamed(response, request), request, within)
        finally:
            response.close()  # not back into the pool: the server may still be talking

    def patch(
        self,
        kind: str,
        name: str,
        patch: Object,
        *,
        namespace: str | None = None,
        api_version: str | None = None,
    ) -> Object:
        """Merge `patch` into the object (RFC 7396: null deletes, a list replaces) and return the result."""
        self._guard({**patch, "kind": kind, "metadata": {**(patch.get("metadata") or {}), "name": name}})
        path = self._type(kind, api_version).path(namespace, name)
        return self._json("PATCH", path, body=patch, content_type="application/merge-patch+json")

    def scale(self, kind: str, name: str, replicas: int, *, namespace: str) -> None:
        """Have a Deployment or StatefulSet keep so many pods. Does not wait until it has them."""
        self.patch(kind, name, {"spec": {"replicas": replicas}}, namespace=namespace)

    def delete(
        self,
        kind: str,
        name: str,
        *,
        namespace: str | None = None,
        api_version: str | None = None,
        grace_seconds: int | None = None,
    ) -> None:
        """Ask for the object to be deleted; one that is not there is fine. Does not wait until it is gone."""
        query = [] if grace_seconds is None else [("gracePeriodSeconds", grace_seconds)]
        try:
            self._request("DELETE", self._type(kind, api_version).path(namespace, name), query=query)
        except KubeError as error:
            if error.status != 404 or not error.about:
                raise

    def evict(self, pod: str, *, namespace: str) -> None:
        """Ask for a pod to be evicted, as `kubectl drain` does; a PodDisruptionBudget may refuse it.

        Raises `ApiUnavailable` (status 429) with the server's words where one does.

        https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
        """
        metadata = {"name": pod, "namespace": namespace}
        wanted = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        path = f"{self._type('Pod', 'v1').path(namespace, pod)}/eviction"
        self._request("POST", path, body=wanted, content_type="application/json")

    def exec(
        self,
        pod: str,
        argv: Sequence[str],
        *,
        namespace: str,
        container: str | None = None,
        stdin: str | None = None,
        timeout: float = 30,
    ) -> str:
        """Run `argv` in a pod for at most `timeout` seconds, and return its standard output.

        Raises `ExecFailed` when it ends with another status than 0 or not in time. The program itself lives on after a
        time-out: closing the stream does not end it (https://github.com/kubernetes/kubernetes/issues/89899).
        """
        path = f"{self._type('Pod', 'v1').path(namespace, pod)}/exec"
        return podexec.run(self._configuration, path, argv, container=container, stdin=stdin, timeout=timeout)

    def logs(
        self,
        pod: str,
        *,
        namespace: str,
        container: str | None = None,
        previous: bool = False,
        since: float | None = None,
        tail_lines: int | None = None,
        limit_bytes: int | None = None,
    ) -> str:
        """What a container wrote; `previous` is the one before its last restart, `since` (Unix seconds) leaves out what
        is older.

        The server counts `limit_bytes` from the first line it sends, so the newest ones are what it cuts off.
        """
        options = {
            "container": container,
            "sinceTime": None if since is None else _timestamp(since),
            "tailLines": tail_lines,
            "limitBytes": limit_bytes,
        }
        query = [(key, value) for key, value in options.items() if value is not None]
        if previous:
            query.append(("previous", "true"))
        path = f"{self._type('Pod', 'v1').path(namespace, pod)}/log"
        return self._request("GET", path, query=query, accept="*/*").decode(errors="replace")

    def stream(self, path: str, query: Sequence[tuple[str, str]] = ()) -> Stream:
        """An answer that goes on, such as a watch or a log that is followed. Raises `ApiUnavailable`."""
        return Stream(self._configuration, path, query)

    def volume_stats(self, node: str) -> builtins.list[Object]:
        """What the kubelet of a node knows of the volumes of claims (`pvcRef`): bytes and inodes. It asks the storage
        driver once a minute.

        https://kubernetes.io/docs/reference/instrumentation/node-metrics/#summary-api-source
        """
        summary = self._json("GET", f"/api/v1/nodes/{quote(node, safe='')}/proxy/stats/summary")
        volumes = [volume for pod in items_of(summary, "pods") for volume in items_of(pod, "volume")]
        return [volume for volume in volumes if volume.get("pvcRef")]

    def events(self, namespace: str, *, name: str = "", kind: str = "") -> builtins.list[Object]:
        """The events of a namespace, or of the objects called `name`, or of that `kind`, in it."""
        wanted = {"name": name, "kind": kind}
        fields = ",".join(f"involvedObject.{field}={value}" for field, value in wanted.items() if value)
        return self.list("Event", namespace=namespace, fields=fields, api_version="v1")

    def _apply_within_deadline(self, wanted: Object) -> None:
        what = f"apply {wanted['kind']} {wanted['metadata']['name']}"
        try:
            wait_for(lambda: self._apply_once(wanted), what=what, within=APPLY_SECONDS)
        except DeadlineExceeded as error:
            raise KubeError(error.message) from error

    def _apply_once(self, wanted: Object) -> None:
        metadata = wanted["metadata"]
        try:
            path = self._type(wanted["kind"], wanted["apiVersion"]).path(metadata.get("namespace"), metadata["name"])
            self._request(
                "PATCH",
                path,
                body=wanted,
                query=[("fieldManager", FIELD_MANAGER), ("force", "true")],
                content_type="application/apply-patch+yaml",
            )
        except ApiUnavailable as error:
            raise NotYet(error.message) from error
        except KubeError as error:
            if error.status == 404 and not error.about:
                self._forget_types()
                raise NotYet(error.message) from error
            raise

    def _type(self, kind: str, api_version: str | None) -> ResourceType:
        """The type of that kind; without `api_version` the first group that has it, the core group before all others.

        What is missing is looked for once more, since CRDs come and go; raises `KubeError` if it stays missing.
        """
        found = self._known_type(kind, api_version)
        if found is None:
            self._types = self._discover()
            found = self._known_type(kind, api_version)
        if found is None:
            raise KubeError(f"no matches for kind {kind} in {api_version or 'any API group'}", status=404)
        return found

    def _known_type(self, kind: str, api_version: str | None) -> ResourceType | None:
        matches = (known for known in self._types if known.kind == kind and api_version in (None, known.api_version))
        return next(matches, None)

    def _forget_types(self) -> None:
        self._types = []

    def _discover(self) -> builtins.list[ResourceType]:
        """All types, in two requests (https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api)."""
        groups: list[Object] = []
        for root in ("/api", "/apis"):
            groups += items_of(self._json("GET", root, accept=_AGGREGATED_DISCOVERY), "items")
        return [known for group in groups for known in _types_of_group(group)]

    def _json(self, method: str, path: str, **options: Any) -> Any:
        answer = self._request(method, path, **options)
        try:
            return json.loads(answer)
        except ValueError as error:  # cut off by a dying server
            raise ApiUnavailable(f"{method} {path}: not JSON: {answer[:200]!r}") from error

    def _request(self, method: str, path: str, **options: Any) -> bytes:
        with _reported(f"{method} {path}"):
            return self._respond(method, path, **options).data

    def _respond(
        self,
        method: str,
        path: str,
        *,
        body: Object | None = None,
        query: Sequence[tuple[str, Any]] = (),
        content_type: str | None = None,
        accept: str = "application/json",
        timeout: float = REQUEST_SECONDS,
    ) -> urllib3.BaseHTTPResponse:
        return self._client.request(
            method,
            path,
            body=body,
            query_params=list(query),
            header_params={"Accept": accept},
            content_type=content_type,
            serialize=False,
            _request_timeout=_connect_and_read(timeout),
        )


@contextlib.contextmanager
def _reported(request: str) -> Iterator[None]:
    """What can go wrong with a request, as this package's own errors."""
    try:
        yield
    except ApiException as error:
        raise refused(request, error.status or 0, error.body or error.reason) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise ApiUnavailable(f"{request}: {error}") from error


def _streamed(response: urllib3.BaseHTTPResponse, request: str) -> Iterator[bytes]:
    """What the server sends, as it comes."""
    with _reported(request):
        yield from response.stream(decode_content=False)


def _timestamp(unix: float) -> str:
    """Unix seconds as Kubernetes writes a time."""
    return datetime.datetime.fromtimestamp(unix, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _connect_and_read(seconds: float) -> tuple[float, float]:
    """The deadline as the pair that urllib3 takes; release 35 ignores a single number that is not an integer."""
    connect = min(CONNECT_SECONDS, seconds / 2)
    return connect, seconds - connect


def _types_of_group(group: Object) -> builtins.list[ResourceType]:
    name = value_of(group, "metadata", "name", default="")
    # A group whose first CRD was established a moment ago has null where the resources of a version should be.
    return [
        ResourceType(
            api_version=f"{name}/{version['version']}" if name else version["version"],
            kind=resource["responseKind"]["kind"],
            plural=resource["resource"],
            namespaced=resource["scope"] == "Namespaced",
            listable="list" in items_of(resource, "verbs"),
        )
        for version in items_of(group, "versions")
        for resource in items_of(version, "resources")
        if value_of(resource, "responseKind", "kind")
    ]


def _configuration(kubeconfig: Path) -> kubernetes_client.Configuration:
    configuration = kubernetes_client.Configuration()
    try:
        kubernetes_config.load_kube_config(
            config_file=str(kubeconfig),
            client_configuration=configuration,
            persist_config=False,
            temp_file_path=str(_keys()),
        )
    except (ConfigException, OSError) as error:
        raise UsageError(
            f"{kubeconfig}: not a usable kubeconfig: {error}", hint="the file that --kubeconfig of a run has written"
        ) from error
    # The harness retries on its own terms; urllib3's three silent ones would multiply every deadline.
    configuration.retries = False
    if _is_loopback(configuration.host):
        configuration.proxy = None  # as kubectl does: kind's API server on 127.0.0.1 is behind no proxy
    return configuration


@lru_cache(maxsize=1)
def _keys() -> Path:
    """Where the library has certificates and keys as files, under names that it keeps to the end of the process. In
    /tmp, its own choice, a killed run would leave them for ever."""
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(staging.staged(cache_dir() / "keys/kubernetes"))


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _dynamic_client(configuration: kubernetes_client.Configuration) -> DynamicClient:
    api = kubernetes_client.ApiClient(configuration)
    return DynamicClient(api, discoverer=lambda _client, _cache_file: None)
