"""The Kubernetes API: apply, get, exec, logs, events, and the conditions to wait for."""

from rookery.kube.client import Kube
from rookery.kube.errors import ApiUnavailable, ExecFailed, KubeError, api_may_be_down

__all__ = ["ApiUnavailable", "ExecFailed", "Kube", "KubeError", "api_may_be_down"]
