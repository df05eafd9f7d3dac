#!/bin/sh
# pod-network: what kind's default network does for a node. It writes the CNI configuration for the node's own range of
# pod addresses, keeps one route to each other node's range, and hides pods behind the node when they leave the cluster.
# Routes and rules live in the kernel and are gone after a node restart; this runs again then.
set -eu
: "${NODE_NAME:?}" "${POD_SUBNET:?}"
conflist=/etc/cni/net.d/10-pod-network.conflist

# kube-proxy's own kubeconfig names the API server by the node it runs on, so that this does not wait for kube-proxy.
nodes() { kubectl --kubeconfig=/var/lib/kube-proxy/kubeconfig.conf get nodes "$@" --no-headers -o \
  'custom-columns=N:.metadata.name,C:.spec.podCIDR,A:.status.addresses[?(@.type=="InternalIP")].address'; }

masquerade() {
  iptables -w -t nat -C POSTROUTING -s "$POD_SUBNET" ! -d "$POD_SUBNET" -j MASQUERADE 2>/dev/null ||
    iptables -w -t nat -A POSTROUTING -s "$POD_SUBNET" ! -d "$POD_SUBNET" -j MASQUERADE
}

# configure RANGE: ptp and host-local, as kindnetd does; addresses are handed out anew after a restart (/run is a tmpfs).
configure() {
  [ -e "$conflist" ] && grep -q "\"$1\"" "$conflist" && return
  cat > "$conflist.new" <<EOF
{"cniVersion": "0.4.0", "name": "pod-network", "plugins": [
  {"type": "ptp", "ipMasq": false, "mtu": 1500, "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam-state",
   "routes": [{"dst": "0.0.0.0/0"}], "ranges": [[{"subnet": "$1"}]]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
EOF
  mv "$conflist.new" "$conflist"
}

apply() {
  while read -r name range address; do
    [ "$range" = "<none>" ] && continue
    if [ "$name" = "$NODE_NAME" ]; then configure "$range"; else ip route replace "$range" via "$address"; fi
  done
}

masquerade
while true; do
  # A watch prints what is there, then every change; when it ends (the API server went away), ask again.
  nodes --watch | apply || true
  sleep 0.5
done
