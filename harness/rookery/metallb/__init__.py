"""MetalLB: what gives Services of type LoadBalancer an address where there is no cloud to do it.

Every run of pytest imports this for its images; what deploys it is in `rookery.metallb.deploy`.
"""

VERSION = "0.15.2"
IMAGES = tuple(f"quay.io/metallb/{part}:v{VERSION}" for part in ("controller", "speaker"))
