"""The CSI services on gRPC: messages in, messages out, one log line a call.

This module needs grpcio and the stubs of csi.proto (`csi_pb2`, `csi_pb2_grpc`); what the calls do is in `controller`
and `node`, for CephFS in `cephfs.controller` and `cephfs.node`.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable
from concurrent import futures
from pathlib import Path
from typing import Any

import csi_pb2 as csi
import csi_pb2_grpc
import grpc

from . import DRIVER_VERSION
from .cephfs.controller import CephfsController
from .cephfs.node import CephfsNode
from .controller import Controller
from .errors import DriverError, InvalidArgument
from .messages import ContentSource, CreateVolume, Publish, Snapshot, Stage
from .mounts import Usage
from .node import Node
from .volumes import Capability, Capacity
from .waiting import Deadline

log = logging.getLogger(__name__)

# Seconds a node call may take. The kubelet hangs up after two minutes; an answer in time tells why it did not work.
NODE_BUDGET = 100.0
_MARGIN = 5.0  # seconds before the caller's own deadline
_THREADS = 64  # calls at a time: each may wait for Ceph, and a probe must still get through
_SUBJECTS = ("volume_id", "snapshot_id", "name", "source_volume_id")  # what a call's log line is about
_GRACE = 5.0  # seconds for calls in flight when the driver is told to end


class IdentityService(csi_pb2_grpc.IdentityServicer):
    """Who the driver is."""

    def __init__(self, driver_name: str) -> None:
        self._driver_name = driver_name

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:
        return csi.GetPluginInfoResponse(name=self._driver_name, vendor_version=DRIVER_VERSION)

    def GetPluginCapabilities(self, request: Any, context: grpc.ServicerContext) -> Any:
        service = csi.PluginCapability.Service(type=csi.PluginCapability.Service.CONTROLLER_SERVICE)
        expansion = csi.PluginCapability.VolumeExpansion(type=csi.PluginCapability.VolumeExpansion.ONLINE)
        return csi.GetPluginCapabilitiesResponse(
            capabilities=[csi.PluginCapability(service=service), csi.PluginCapability(volume_expansion=expansion)]
        )

    def Probe(self, request: Any, context: grpc.ServicerContext) -> Any:
        response = csi.ProbeResponse()
        response.ready.value = True
        return response


class ControllerService(csi_pb2_grpc.ControllerServicer):
    """What the sidecars call."""

    def __init__(self, controller: Controller | CephfsController) -> None:
        self._controller = controller

    def ControllerGetCapabilities(self, request: Any, context: grpc.ServicerContext) -> Any:
        rpc = csi.ControllerServiceCapability.RPC
        kinds = (
            rpc.CREATE_DELETE_VOLUME,
            rpc.PUBLISH_UNPUBLISH_VOLUME,
            rpc.EXPAND_VOLUME,
            rpc.CREATE_DELETE_SNAPSHOT,
            rpc.LIST_SNAPSHOTS,
            rpc.CLONE_VOLUME,
            rpc.SINGLE_NODE_MULTI_WRITER,
        )
        return csi.ControllerGetCapabilitiesResponse(
            capabilities=[csi.ControllerServiceCapability(rpc=rpc(type=kind)) for kind in kinds]
        )

    def CreateVolume(self, request: Any, context: grpc.ServicerContext) -> Any:
        volume = self._controller.create(
            CreateVolume(
                name=request.name,
                capacity=_capacity(request),
                capabilities=tuple(_capability(message) for message in request.volume_capabilities),
                parameters=dict(request.parameters),
                secrets=dict(request.secrets),
                source=_source(request),
            )
        )
        made = csi.Volume(volume_id=str(volume.id), capacity_bytes=volume.size, volume_context=volume.context)
        if request.HasField("volume_content_source"):
            made.content_source.CopyFrom(request.volume_content_source)
        return csi.CreateVolumeResponse(volume=made)

    def DeleteVolume(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._controller.delete(request.volume_id, dict(request.secrets))
        return csi.DeleteVolumeResponse()

    def ControllerExpandVolume(self, request: Any, context: grpc.ServicerContext) -> Any:
        size = self._controller.expand(request.volume_id, _capacity(request), dict(request.secrets))
        return csi.ControllerExpandVolumeResponse(
            capacity_bytes=size, node_expansion_required=self._controller.nodes_expand
        )

    def ControllerPublishVolume(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._controller.publish(
            request.volume_id,
            request.node_id,
            _capability_of(request),
            request.readonly,
            dict(request.secrets),
        )
        return csi.ControllerPublishVolumeResponse()

    def ControllerUnpublishVolume(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._controller.unpublish(request.volume_id)
        return csi.ControllerUnpublishVolumeResponse()

    def ValidateVolumeCapabilities(self, request: Any, context: grpc.ServicerContext) -> Any:
        capabilities = [_capability(message) for message in request.volume_capabilities]
        unsupported_reason = self._controller.validate(request.volume_id, capabilities, dict(request.secrets))
        response = csi.ValidateVolumeCapabilitiesResponse(message=unsupported_reason)
        if not unsupported_reason:
            response.confirmed.volume_capabilities.extend(request.volume_capabilities)
            response.confirmed.volume_context.update(request.volume_context)
            response.confirmed.parameters.update(request.parameters)
        return response

    def CreateSnapshot(self, request: Any, context: grpc.ServicerContext) -> Any:
        snapshot = self._controller.create_snapshot(
            request.name, request.source_volume_id, dict(request.secrets), dict(request.parameters)
        )
        return csi.CreateSnapshotResponse(snapshot=_snapshot(snapshot))

    def DeleteSnapshot(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._controller.delete_snapshot(request.snapshot_id, dict(request.secrets))
        return csi.DeleteSnapshotResponse()

    def ListSnapshots(self, request: Any, context: grpc.ServicerContext) -> Any:
        snapshots, next_token = self._controller.list_snapshots(
            dict(request.secrets),
            snapshot_id=request.snapshot_id,
            source_volume_id=request.source_volume_id,
            starting_token=request.starting_token,
            max_entries=request.max_entries,
        )
        entries = [csi.ListSnapshotsResponse.Entry(snapshot=_snapshot(snapshot)) for snapshot in snapshots]
        return csi.ListSnapshotsResponse(entries=entries, next_token=next_token)


class NodeService(csi_pb2_grpc.NodeServicer):
    """What the kubelet calls."""

    def __init__(self, node: Node | CephfsNode, node_id: str) -> None:
        self._node = node
        self._node_id = node_id

    def NodeGetInfo(self, request: Any, context: grpc.ServicerContext) -> Any:
        return csi.NodeGetInfoResponse(node_id=self._node_id)

    def NodeGetCapabilities(self, request: Any, context: grpc.ServicerContext) -> Any:
        rpc = csi.NodeServiceCapability.RPC
        kinds = [
            rpc.STAGE_UNSTAGE_VOLUME,
            rpc.GET_VOLUME_STATS,
            rpc.SINGLE_NODE_MULTI_WRITER,
            rpc.VOLUME_CONDITION,
        ]
        if isinstance(self._node, Node):
            kinds.append(rpc.EXPAND_VOLUME)
        return csi.NodeGetCapabilitiesResponse(
            capabilities=[csi.NodeServiceCapability(rpc=rpc(type=kind)) for kind in kinds]
        )

    def NodeStageVolume(self, request: Any, context: grpc.ServicerContext) -> Any:
        stage = Stage(
            request.volume_id,
            request.staging_target_path,
            _capability_of(request),
            dict(request.secrets),
            dict(request.volume_context),
        )
        self._node.stage(stage, _deadline(context))
        return csi.NodeStageVolumeResponse()

    def NodeUnstageVolume(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._node.unstage(request.volume_id, request.staging_target_path, _deadline(context))
        return csi.NodeUnstageVolumeResponse()

    def NodePublishVolume(self, request: Any, context: grpc.ServicerContext) -> Any:
        publish = Publish(
            request.volume_id,
            request.staging_target_path,
            request.target_path,
            _capability_of(request),
            request.readonly,
        )
        self._node.publish(publish, _deadline(context))
        return csi.NodePublishVolumeResponse()

    def NodeUnpublishVolume(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._node.unpublish(request.volume_id, request.target_path, _deadline(context))
        return csi.NodeUnpublishVolumeResponse()

    def NodeExpandVolume(self, request: Any, context: grpc.ServicerContext) -> Any:
        if not isinstance(self._node, Node):
            raise NotImplementedError
        size = self._node.expand(request.volume_id, request.volume_path, _capacity(request), _deadline(context))
        return csi.NodeExpandVolumeResponse(capacity_bytes=size)

    def NodeGetVolumeStats(self, request: Any, context: grpc.ServicerContext) -> Any:
        stats = self._node.stats(request.volume_id, request.volume_path)
        response = csi.NodeGetVolumeStatsResponse(usage=_usage(stats.size, stats.usage))
        response.volume_condition.abnormal = bool(stats.abnormal)
        response.volume_condition.message = stats.abnormal or "what serves the volume runs"
        return response


class CallLog(grpc.ServerInterceptor):
    """One line a call (method, volume, seconds, code), and the driver's errors as gRPC statuses.

    Of a request only the volume's id or name is logged: requests carry secrets.
    """

    def intercept_service(self, continuation: Callable[..., Any], details: grpc.HandlerCallDetails) -> Any:
        handler = continuation(details)
        if handler is None or handler.unary_unary is None:
            return handler
        method = details.method.rpartition("/")[2]

        def call(request: Any, context: grpc.ServicerContext) -> Any:
            subject = next((found for field in _SUBJECTS if (found := getattr(request, field, ""))), "-")
            started = time.monotonic()
            response, code, text = _answer(handler.unary_unary, request, context)
            seconds = time.monotonic() - started
            level = logging.INFO if code is grpc.StatusCode.OK else logging.WARNING
            log.log(level, "%s %s %.2f s %s%s", method, subject, seconds, code.name, f": {text}" if text else "")
            if code is not grpc.StatusCode.OK:
                context.abort(code, text)
            return response

        return grpc.unary_unary_rpc_method_handler(
            call, request_deserializer=handler.request_deserializer, response_serializer=handler.response_serializer
        )


def _answer(
    behaviour: Callable[..., Any], request: Any, context: grpc.ServicerContext
) -> tuple[Any, grpc.StatusCode, str]:
    try:
        return behaviour(request, context), grpc.StatusCode.OK, ""
    except DriverError as error:
        return None, grpc.StatusCode[error.code], str(error)
    except NotImplementedError:
        return None, grpc.StatusCode.UNIMPLEMENTED, "not implemented"
    except OSError as error:
        return None, grpc.StatusCode.INTERNAL, str(error)
    except Exception as error:
        log.exception("a fault of the driver")
        return None, grpc.StatusCode.INTERNAL, repr(error)


def serve(socket: Path, add_services: Iterable[Callable[[grpc.Server], None]]) -> grpc.Server:
    """Serve on a Unix socket; a file that an earlier process has left there is replaced."""
    socket.parent.mkdir(parents=True, exist_ok=True)
    socket.unlink(missing_ok=True)
    server = grpc.server(futures.ThreadPoolExecutor(_THREADS), interceptors=[CallLog()])
    for add in add_services:
        add(server)
    umask = os.umask(0o077)
    try:
        if not server.add_insecure_port(f"unix://{socket}"):
            raise OSError(f"{socket}: cannot be served on")
    finally:
        os.umask(umask)
    server.start()
    return server


def stop(*servers: grpc.Server) -> None:
    """Take no more calls, and give those in flight a few seconds."""
    for stopped in [server.stop(_GRACE) for server in servers]:
        stopped.wait(_GRACE)


def _deadline(context: grpc.ServicerContext) -> Deadline:
    remaining = context.time_remaining()
    seconds = NODE_BUDGET if remaining is None else min(NODE_BUDGET, remaining - _MARGIN)
    return Deadline(seconds, cancelled=lambda: not context.is_active())


def _capacity(request: Any) -> Capacity:
    return Capacity(request.capacity_range.required_bytes, request.capacity_range.limit_bytes)


def _source(request: Any) -> ContentSource | None:
    """What a new volume is to hold. Raises `InvalidArgument` for a kind that the specification got later."""
    if not request.HasField("volume_content_source"):
        return None
    found = request.volume_content_source
    source = ContentSource(snapshot_id=found.snapshot.snapshot_id, volume_id=found.volume.volume_id)
    if not source.snapshot_id and not source.volume_id:
        raise InvalidArgument("the volume content source names neither a snapshot nor a volume")
    return source


def _snapshot(snapshot: Snapshot) -> Any:
    made = csi.Snapshot(
        snapshot_id=str(snapshot.id),
        source_volume_id=snapshot.source_id,
        size_bytes=snapshot.size,
        ready_to_use=True,
    )
    made.creation_time.FromSeconds(snapshot.created)
    return made


def _usage(size: int, usage: Usage | None) -> list[Any]:
    if usage is None:
        return [csi.VolumeUsage(unit=csi.VolumeUsage.BYTES, total=size)]
    found = [csi.VolumeUsage(unit=csi.VolumeUsage.BYTES, total=usage.total, used=usage.used, available=usage.available)]
    if usage.inodes:
        inodes = {"total": usage.inodes, "used": usage.inodes_used, "available": usage.inodes_available}
        found.append(csi.VolumeUsage(unit=csi.VolumeUsage.INODES, **inodes))
    return found


def _capability_of(request: Any) -> Capability | None:
    return _capability(request.volume_capability) if request.HasField("volume_capability") else None


def _capability(message: Any) -> Capability:
    mode = message.access_mode.mode
    modes = csi.VolumeCapability.AccessMode.Mode
    return Capability(
        access_mode=modes.Name(mode) if mode in modes.values() else str(mode),
        block=message.HasField("block"),
        fs_type=message.mount.fs_type,
        mount_flags=tuple(message.mount.mount_flags),
    )
