"""`python3 -m userspace_csi controller|node`: put the parts together and serve until told to end."""

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

from . import CEPHFS_DRIVER_NAME, DRIVER_NAME, images, services
from .cephfs import ceph as cephfs
from .cephfs.client import FuseClients
from .cephfs.controller import CephfsController
from .cephfs.node import CephfsNode, MountRecords
from .clusters import ClusterConfig, Credentials, remove_client_files
from .controller import Controller
from .exporter import Exporter
from .filesystems import Filesystems
from .loops import Loops
from .mounts import Mounts
from .node import Node
from .nodes import RegisteredNodes
from .registration import RegistrationService
from .state import NodeBoot, StateStore

log = logging.getLogger("userspace_csi")

NAMES = {"rbd": DRIVER_NAME, "cephfs": CEPHFS_DRIVER_NAME}


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname).1s %(message)s")
    arguments = _arguments()
    arguments.ready_file.unlink(missing_ok=True)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    servers = serve_controller(arguments) if arguments.role == "controller" else serve_node(arguments)
    log.info("%s serves as %s", NAMES[arguments.storage], arguments.role)
    ended.wait()
    arguments.ready_file.unlink(missing_ok=True)
    services.stop(*servers)


def serve_controller(arguments: argparse.Namespace) -> list[grpc.Server]:
    """Identity and Controller, for the sidecars in the same pod."""
    name = NAMES[arguments.storage]
    controller = _controller(arguments, RegisteredNodes(name))
    server = services.serve(
        arguments.socket,
        [
            lambda it: csi_pb2_grpc.add_IdentityServicer_to_server(services.IdentityService(name), it),
            lambda it: csi_pb2_grpc.add_ControllerServicer_to_server(services.ControllerService(controller), it),
        ],
    )
    arguments.ready_file.touch()
    return [server]


def serve_node(arguments: argparse.Namespace) -> list[grpc.Server]:
    """Identity and Node, for the kubelet, and the socket on which it finds them."""
    name = NAMES[arguments.storage]
    plugin_dir = arguments.kubelet_dir / "plugins" / name
    socket = plugin_dir / "csi.sock"
    node = _node(arguments, plugin_dir)
    registration = RegistrationService(name, socket, on_registered=arguments.ready_file.touch)
    serving = services.serve(
        socket,
        [
            lambda it: csi_pb2_grpc.add_IdentityServicer_to_server(services.IdentityService(name), it),
            lambda it: csi_pb2_grpc.add_NodeServicer_to_server(services.NodeService(node, arguments.node_id), it),
        ],
    )
    # After the driver's own socket: the kubelet calls it as soon as it sees this one.
    registering = services.serve(
        arguments.kubelet_dir / "plugins_registry" / f"{name}-reg.sock",
        [lambda it: pluginregistration_pb2_grpc.add_RegistrationServicer_to_server(registration, it)],
    )
    return [registering, serving]


def _controller(arguments: argparse.Namespace, nodes: RegisteredNodes) -> Controller | CephfsController:
    config = ClusterConfig(arguments.cluster_config)
    if arguments.storage == "cephfs":
        return CephfsController(cephfs.Ceph(config), nodes)
    return Controller(images.Ceph(config), nodes)


def _node(arguments: argparse.Namespace, plugin_dir: Path) -> Node | CephfsNode:
    config, mounts, boot = ClusterConfig(arguments.cluster_config), Mounts(), NodeBoot.current()
    remove_client_files(arguments.secrets_dir)
    if arguments.storage == "cephfs":
        return CephfsNode(
            ceph=cephfs.Ceph(config),
            clients=FuseClients(mounts, secrets_dir=arguments.secrets_dir, sockets=plugin_dir),
            mounts=mounts,
            records=MountRecords(plugin_dir / arguments.node_id, boot),
            fencing=lambda: Credentials.from_folder(arguments.fencing_secret),
        )
    node = Node(
        ceph=images.Ceph(config),
        exporter=Exporter(mounts, secrets_dir=arguments.secrets_dir),
        loops=Loops(),
        mounts=mounts,
        filesystems=Filesystems(),
        states=StateStore(plugin_dir / arguments.node_id, boot),
    )
    node.recover()
    return node


def _arguments() -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--cluster-config", type=Path, default=Path("/etc/ceph-csi-config/csi-cluster-config-json"))
    common.add_argument("--ready-file", type=Path, default=Path("/run/rookery-csi/ready"))
    common.add_argument("--storage", choices=sorted(NAMES), default="rbd", help="what the volumes are of")
    parser = argparse.ArgumentParser(prog="userspace_csi", description=__doc__)
    roles = parser.add_subparsers(dest="role", required=True)
    controller = roles.add_parser("controller", parents=[common])
    controller.add_argument("--socket", type=Path, default=Path("/csi/csi.sock"))
    node = roles.add_parser("node", parents=[common])
    node.add_argument("--node-id", required=True, help="the node's name in Kubernetes")
    node.add_argument("--kubelet-dir", type=Path, default=Path("/var/lib/kubelet"))
    node.add_argument("--secrets-dir", type=Path, default=Path("/run/rookery-csi/secrets"), help="a tmpfs")
    node.add_argument(
        "--fencing-secret", type=Path, default=Path("/etc/ceph-fencing"), help="of a user that may blocklist clients"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
