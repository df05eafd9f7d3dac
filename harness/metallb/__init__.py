"""MetalLB: what gives Services of type LoadBalancer an address where there is no cloud to do it."""

from harness.metallb.deploy import MetalLB

__all__ = ["MetalLB"]
