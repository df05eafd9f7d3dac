"""MetalLB: what gives Services of type LoadBalancer an address where there is no cloud to do it."""

from rookery.metallb.deploy import MetalLB
from rookery.metallb.manifests import IMAGES, VERSION

__all__ = ["IMAGES", "VERSION", "MetalLB"]
