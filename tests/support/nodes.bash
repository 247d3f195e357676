# shellcheck shell=bash
# nodes.bash starts several Docker engines on this machine, each a node of one Swarm with a network,
# a hostname and processes of its own.
#
#   start_nodes DIR COUNT   engines node1, node2 ... with a socket each, DIR/node1/docker.sock; the
#                           first is the manager. DIR/address: this machine, as they see it
#   cut_node DIR NODE       takes its network away      join_node DIR NODE   gives it back
#   kill_node DIR NODE      as by a power cut           revive_node DIR NODE
#   stop_nodes DIR          ends and removes all of it, whatever became of it
#
# This file is sourced, after services.bash. DIR is an existing folder with a short path. All nodes
# see this machine's files at the same paths, so any folder is a shared one, but for DIR/work, which
# is each node's own. They speak plain HTTP with a registry at DIR/address, port 5000.

# start_nodes DIR COUNT
start_nodes() {
  local dir=$1
  local count=$2
  local bridge n token

  bridge=$(add_bridge)
  echo "$bridge" >"$dir/bridge"
  echo "172.30.$bridge.254" >"$dir/address"
  ip address add "172.30.$bridge.254/24" dev "dbs$bridge"
  ip link set "dbs$bridge" up
  bridge_rules -I "$bridge"

  for ((n = 1; n <= count; n++)); do
    start_node "$dir" "$bridge" "$n"
  done
  for ((n = 1; n <= count; n++)); do
    wait_until 60 on_node "$dir" "node$n" version \
      || did_not_start "the engine of node$n" "$dir/node$n/dockerd.log"
  done

  on_node "$dir" node1 swarm init --advertise-addr "172.30.$bridge.1" >/dev/null
  token=$(on_node "$dir" node1 swarm join-token -q worker)
  for ((n = 2; n <= count; n++)); do
    on_node "$dir" "node$n" swarm join --token "$token" "172.30.$bridge.1:2377" >/dev/null
  done
}

# on_node DIR NODE ARGS...: docker, of that node.
on_node() { "${DOCKER-docker}" -H "unix://$1/$2/docker.sock" "${@:3}"; }

# start_node DIR BRIDGE N: gives it a network, and starts its engine.
start_node() {
  local space=dbs$2n$3

  ip netns add "$space"
  ip link add "$space" type veth peer name eth0 netns "$space"
  ip link set "$space" master "dbs$2" up
  ip -n "$space" link set lo up
  ip -n "$space" address add "172.30.$2.$3/24" dev eth0
  ip -n "$space" link set eth0 up
  ip -n "$space" route add default via "172.30.$2.254"
  start_node_engine "$@"
}

# start_node_engine DIR BRIDGE N: its processes have a PID namespace, so all end with the first of
# them; and a /run of their own, so the engine's socket is at the usual place there.
start_node_engine() {
  local dir=$1/node$3

  mkdir -p -- "$dir/work" "$1/work"
  rm -rf --one-file-system -- "$dir/exec"
  # shellcheck disable=SC2016 # for that bash
  service "$dir" dockerd nsenter --net="/run/netns/dbs$2n$3" \
    unshare --mount --uts --pid --fork --mount-proc --kill-child \
    bash -c 'hostname "$1" && mount -t tmpfs tmpfs /run && mount --bind "$2" "$3" && shift 3 \
      && "$@" & wait' - "node$3" "$dir/work" "$1/work" dockerd \
    --data-root "$dir/data" --exec-root "$dir/exec" -H unix:///run/docker.sock \
    -H "unix://$dir/docker.sock" --insecure-registry "http://172.30.$2.254:5000"
}

# revive_node DIR NODE: after kill_node.
revive_node() {
  start_node_engine "$1" "$(<"$1/bridge")" "${2#node}"
  wait_until 60 on_node "$1" "$2" version
}

cut_node() { ip link set "dbs$(<"$1/bridge")n${2#node}" down; }
join_node() { ip link set "dbs$(<"$1/bridge")n${2#node}" up; }

kill_node() {
  local pid
  pid=$(<"$1/$2/dockerd.pid")
  kill -KILL -- "$pid" || return 0
  wait_until 20 gone "$pid"
  wait_until 20 is_free "$1/$2"
}

# is_free DIR: is no process of that node left?
is_free() { ! pgrep -f -- "$1/" >/dev/null; }

stop_nodes() {
  local dir=$1
  local bridge node mount

  bridge=$(<"$dir/bridge")
  for node in "$dir"/node*/; do
    node=${node%/}
    kill_node "$dir" "${node##*/}" || true
    ip netns delete "dbs${bridge}n${node##*/node}" || true
  done
  while read -r mount; do
    if [[ $mount == "$dir"/* ]]; then
      umount -l -- "$mount" 2>/dev/null || true
    fi
  done < <(findmnt -rno TARGET | sort -r)
  bridge_rules -D "$bridge" 2>/dev/null || true
  ip link delete "dbs$bridge" 2>/dev/null || true
}
