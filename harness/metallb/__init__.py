"""MetalLB: what gives Services of type LoadBalancer an address where there is no cloud to do it."""

from harness.metallb.deploy import MetalLB
from harness.metallb.manifests import IMAGES, VERSION

__all__ = ["IMAGES", "VERSION", "MetalLB"]
