"""Registration with the kubelet, which otherwise is node-driver-registrar's work.

The kubelet watches its folder plugins_registry for sockets, asks each who it is, and tells it how that went. This
module needs grpcio and the stubs of the kubelet's pluginregistration/v1/api.proto (`pluginregistration_pb2` and
`pluginregistration_pb2_grpc`).

https://github.com/kubernetes/kubernetes/blob/v1.32.0/pkg/kubelet/pluginmanager/pluginwatcher/README.md
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pluginregistration_pb2 as registration
import pluginregistration_pb2_grpc

log = logging.getLogger(__name__)


class RegistrationService(pluginregistration_pb2_grpc.RegistrationServicer):
    """Tells the kubelet where the driver listens; `on_registered` is called when the kubelet has accepted it."""

    def __init__(self, driver_name: str, endpoint: Path, on_registered: Callable[[], None]) -> None:
        self._driver_name = driver_name
        self._endpoint = endpoint
        self._on_registered = on_registered

    def GetInfo(self, request: Any, context: grpc.ServicerContext) -> Any:
        return registration.PluginInfo(
            type="CSIPlugin", name=self._driver_name, endpoint=str(self._endpoint), supported_versions=["1.0.0"]
        )

    def NotifyRegistrationStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.plugin_registered:
            self._on_registered()
        else:
            log.error("the kubelet has not registered the driver: %s", request.error)
        return registration.RegistrationStatusResponse()
