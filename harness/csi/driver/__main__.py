"""`python3 -m driver controller` and `python3 -m driver node`: put the parts together and serve until told to end."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path

import csi_pb2_grpc
import grpc
import pluginregistration_pb2_grpc

from . import DRIVER_NAME, services
from .clusters import ClusterConfig
from .controller import Controller
from .exporter import Exporter
from .filesystems import Filesystems
from .images import Ceph
from .loops import Loops
from .mounts import Mounts
from .node import Node
from .nodes import RegisteredNodes
from .registration import RegistrationService
from .state import NodeBoot, StateStore

log = logging.getLogger("driver")


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname).1s %(message)s")
    arguments = _arguments()
    arguments.ready_file.unlink(missing_ok=True)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    servers = serve_controller(arguments) if arguments.role == "controller" else serve_node(arguments)
    log.info("%s serves as %s", DRIVER_NAME, arguments.role)
    ended.wait()
    arguments.ready_file.unlink(missing_ok=True)
    services.stop(*servers)


def serve_controller(arguments: argparse.Namespace) -> list[grpc.Server]:
    """Identity and Controller, for the sidecars in the same pod."""
    controller = Controller(Ceph(ClusterConfig(arguments.cluster_config)), RegisteredNodes())
    server = services.serve(
        arguments.socket,
        [
            lambda it: csi_pb2_grpc.add_IdentityServicer_to_server(services.IdentityService(), it),
            lambda it: csi_pb2_grpc.add_ControllerServicer_to_server(services.ControllerService(controller), it),
        ],
    )
    arguments.ready_file.touch()
    return [server]


def serve_node(arguments: argparse.Namespace) -> list[grpc.Server]:
    """Identity and Node, for the kubelet, and the socket on which it finds them."""
    plugin_dir = arguments.kubelet_dir / "plugins" / DRIVER_NAME
    socket = plugin_dir / "csi.sock"
    mounts = Mounts()
    node = Node(
        ceph=Ceph(ClusterConfig(arguments.cluster_config)),
        exporter=Exporter(mounts, secrets_dir=arguments.secrets_dir),
        loops=Loops(),
        mounts=mounts,
        filesystems=Filesystems(),
        states=StateStore(plugin_dir / arguments.node_id, NodeBoot.current()),
    )
    node.recover()
    registration = RegistrationService(socket, on_registered=arguments.ready_file.touch)
    serving = services.serve(
        socket,
        [
            lambda it: csi_pb2_grpc.add_IdentityServicer_to_server(services.IdentityService(), it),
            lambda it: csi_pb2_grpc.add_NodeServicer_to_server(services.NodeService(node, arguments.node_id), it),
        ],
    )
    # After the driver's own socket: the kubelet calls it as soon as it sees this one.
    registering = services.serve(
        arguments.kubelet_dir / "plugins_registry" / f"{DRIVER_NAME}-reg.sock",
        [lambda it: pluginregistration_pb2_grpc.add_RegistrationServicer_to_server(registration, it)],
    )
    return [registering, serving]


def _arguments() -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--cluster-config", type=Path, default=Path("/etc/ceph-csi-config/csi-cluster-config-json"))
    common.add_argument("--ready-file", type=Path, default=Path("/run/rookery-csi/ready"))
    parser = argparse.ArgumentParser(prog="driver", description=__doc__)
    roles = parser.add_subparsers(dest="role", required=True)
    controller = roles.add_parser("controller", parents=[common])
    controller.add_argument("--socket", type=Path, default=Path("/csi/csi.sock"))
    node = roles.add_parser("node", parents=[common])
    node.add_argument("--node-id", required=True, help="the node's name in Kubernetes")
    node.add_argument("--kubelet-dir", type=Path, default=Path("/var/lib/kubelet"))
    node.add_argument("--secrets-dir", type=Path, default=Path("/run/rookery-csi/secrets"), help="a tmpfs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
