#!/bin/bash
# Starts Cassandra with the variables of the official image (https://hub.docker.com/_/cassandra), so that one
# StatefulSet serves both images.
set -euo pipefail
config=/etc/cassandra/cassandra.yaml
address=$(hostname -i | awk '{print $1}')
: "${CASSANDRA_LISTEN_ADDRESS:=$address}"
: "${CASSANDRA_BROADCAST_ADDRESS:=$CASSANDRA_LISTEN_ADDRESS}"
: "${CASSANDRA_BROADCAST_RPC_ADDRESS:=$CASSANDRA_BROADCAST_ADDRESS}"
: "${CASSANDRA_RPC_ADDRESS:=0.0.0.0}"
: "${CASSANDRA_SEEDS:=$CASSANDRA_BROADCAST_ADDRESS}"

setting() { # setting NAME VALUE: replace the line of this name, or add one
  sed -i "/^$1:/d" "$config"
  printf '%s: %s\n' "$1" "$2" >> "$config"
}
sed -ri "s/(- seeds:).*/\1 \"$CASSANDRA_SEEDS\"/" "$config"
setting listen_address "$CASSANDRA_LISTEN_ADDRESS"
setting broadcast_address "$CASSANDRA_BROADCAST_ADDRESS"
setting broadcast_rpc_address "$CASSANDRA_BROADCAST_RPC_ADDRESS"
setting rpc_address "$CASSANDRA_RPC_ADDRESS"
[ -z "${CASSANDRA_CLUSTER_NAME:-}" ] || setting cluster_name "'$CASSANDRA_CLUSTER_NAME'"
[ -z "${CASSANDRA_NUM_TOKENS:-}" ] || setting num_tokens "$CASSANDRA_NUM_TOKENS"
[ -z "${CASSANDRA_ENDPOINT_SNITCH:-}" ] || setting endpoint_snitch "$CASSANDRA_ENDPOINT_SNITCH"
printf 'dc=%s\nrack=%s\n' "${CASSANDRA_DC:-datacenter1}" "${CASSANDRA_RACK:-rack1}" \
  > /etc/cassandra/cassandra-rackdc.properties

heap=${MAX_HEAP_SIZE:-512M}
jamm=(/opt/cassandra/lib/jamm-*.jar)
# The class path is spelled out, and has no folder on it: else the JVM does not use the archive of loaded classes.
# JAVA_CLASS_ARCHIVE is for the image's own making of that archive. Java 11 knows no AllowArchivingWithJavaAgent, which it
# does not need: by its options file it passes over what it does not know.
# shellcheck disable=SC2046,SC2086  # options files, JAVA_CLASS_ARCHIVE and JVM_EXTRA_OPTS are lists of words
exec java -ea -Xms"$heap" -Xmx"$heap" -Xss256k -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
  -XX:+UnlockDiagnosticVMOptions -XX:+AllowArchivingWithJavaAgent \
  ${JAVA_CLASS_ARCHIVE:--XX:SharedArchiveFile=/opt/cassandra/daemon.jsa} \
  -XX:+HeapDumpOnOutOfMemoryError -XX:+ExitOnOutOfMemoryError $(cat /etc/cassandra/jvm.options) ${JVM_EXTRA_OPTS:-} \
  -Djna.nosys=true -Dcassandra.jmx.local.port="${JMX_PORT:-7199}" -Dcassandra.libjemalloc=- \
  -Dlogback.configurationFile=/etc/cassandra/logback.xml -Dcassandra.storagedir=/var/lib/cassandra \
  -Dcassandra.config=file://$config -Dcassandra-rackdc.properties=file:///etc/cassandra/cassandra-rackdc.properties \
  -Dcassandra-foreground=yes -javaagent:"${jamm[0]}" -cp "$(cat /opt/cassandra/class-path)" \
  org.apache.cassandra.service.CassandraDaemon
