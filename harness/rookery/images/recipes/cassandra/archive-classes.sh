#!/bin/bash
# Makes the archives of loaded classes (AppCDS) from one start of Cassandra and one of nodetool: what every start would
# read, parse and verify anew, mapped into memory instead. https://docs.oracle.com/en/java/javase/17/vm/class-data-sharing.html
# Before Java 13 a program writes no archive at its end, but the names of its classes, from which one is made afterwards.
# Builds share the machine's network: another address than its own, and a port that JMX has nowhere else.
set -euo pipefail
export CASSANDRA_LISTEN_ADDRESS=127.9.0.6 CASSANDRA_RPC_ADDRESS=127.9.0.6 CASSANDRA_BROADCAST_RPC_ADDRESS=127.9.0.6
export JMX_PORT=17199 MAX_HEAP_SIZE=384M
export CASSANDRA_ENDPOINT_SNITCH=GossipingPropertyFileSnitch  # as the StatefulSet has it
# No waiting for others that are not there; and of each of thousands of classes too old for it, no word.
export JVM_EXTRA_OPTS="-Dcassandra.skip_wait_for_gossip_to_settle=0 -Dcassandra.ring_delay_ms=1000
  -Dcassandra.memtable.row_overhead_size=180 -Dcassandra.initial_token=0 -Xlog:cds*=error"
cp -a /etc/cassandra /tmp/cassandra-as-it-was
at_exit() { # at_exit PROGRAM: the options of Java with which it leaves what its archive is made of
  if [ "$JAVA" -ge 13 ]; then
    echo "-XX:ArchiveClassesAtExit=/opt/cassandra/$1.jsa"
  else
    echo "-Xshare:off -XX:DumpLoadedClassList=/tmp/$1.classes"
  fi
}
JAVA_CLASS_ARCHIVE=$(at_exit daemon) docker-entrypoint.sh &
daemon=$!
for _ in $(seq 120); do
  kill -0 $daemon
  if (exec 3<>/dev/tcp/127.9.0.6/9042) 2>/dev/null; then break; fi
  sleep 1
done
JAVA_CLASS_ARCHIVE=$(at_exit nodetool) nodetool -p $JMX_PORT status
kill $daemon
wait $daemon || true  # 143: ended by the signal, its archive written
for list in /tmp/*.classes; do
  [ -e "$list" ] || break
  java -Xshare:dump -XX:+UseSerialGC -XX:SharedClassListFile="$list" -cp "$(cat /opt/cassandra/class-path)" \
    -XX:SharedArchiveFile="/opt/cassandra/$(basename "$list" .classes).jsa"
  rm "$list"
done
[ -s /opt/cassandra/daemon.jsa ] && [ -s /opt/cassandra/nodetool.jsa ]
rm -rf /var/lib/cassandra /etc/cassandra
mv /tmp/cassandra-as-it-was /etc/cassandra
