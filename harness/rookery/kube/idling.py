"""A container that runs and does nothing, for whoever wants to run something in it."""

# The first process of a container gets no TERM without a trap for it, and the kubelet would wait out the pod's grace
# period: half a minute, unless the pod says otherwise, and never less than two seconds.
IDLE = ["sh", "-c", "trap 'exit 0' TERM; sleep infinity & wait"]
