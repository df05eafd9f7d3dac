"""The Kubernetes API: apply, get, exec, logs, events, and the conditions to wait for."""

from rookery.kube.client import Kube
from rookery.kube.errors import ApiUnavailable, ExecFailed, KubeError, retry_while_api_unavailable

__all__ = ["ApiUnavailable", "ExecFailed", "Kube", "KubeError", "retry_while_api_unavailable"]
