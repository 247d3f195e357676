# shellcheck shell=bash
# services.bash: the real parts tests and demo run on. Sourced; a folder is a service, its files say which.
#
#   start_engine DIR [DATA]    a private Docker engine; exports DOCKER_HOST     stop_engine DIR
#   start_registry DIR         a registry on 127.0.0.1; exports REGISTRY        stop_registry DIR
#   base_image                 exports BASE_IMAGE: node, npm and a shell; imported once per engine
#   docker_client              exports DOCKER: the client with BuildKit where there is one
#   need COMMAND=PACKAGE...    installs what is missing, as root on Debian; else says what is
#
# DIR is an existing folder, DATA (default: in DIR) may outlive it. A stopped service starts again on the same
# DIR with the same data, a registry on the same port.

PATH=$PATH:/usr/sbin:/sbin

# need COMMAND=PACKAGE...: a command that is not there comes from its Debian package.
need() {
  local pair
  local -a missing=()
  for pair; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0
  if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
    echo "missing: ${missing[*]} (Debian's names; install them, or run this as root on Debian)" >&2
    return 1
  fi
  echo "installing ${missing[*]}" >&2
  {
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends "${missing[@]}"
  } >/dev/null
}

# wait_until SECONDS COMMAND...: until it succeeds; 1 when it never does.
wait_until() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || return 1
    sleep 0.1
  done
}

# service DIR NAME COMMAND...: in a session of its own, so that Ctrl-C reaches only the tests.
service() {
  local dir=$1 name=$2
  shift 2
  setsid -- "$@" </dev/null >>"$dir/$name.log" 2>&1 &
  echo "$!" >"$dir/$name.pid"
  disown
}

# end_process PID: TERM, and KILL after 20 s; back when it is gone.
end_process() {
  [[ -n $1 ]] || return 0
  kill -- "$1" 2>/dev/null || return 0
  wait_until 20 gone "$1" || kill -KILL -- "$1" 2>/dev/null || true
  wait_until 5 gone "$1"
}
gone() { [[ ! -e /proc/$1 || $(<"/proc/$1/stat") == *') Z '* ]]; }

docker_client() {
  [[ -z ${DOCKER-} ]] || return 0
  local client
  local -a clients
  mapfile -t clients < <(type -ap docker)
  DOCKER=${clients[0]-docker}
  for client in "${clients[@]}"; do
    if DOCKER_BUILDKIT=1 "$client" build --help >/dev/null 2>&1; then
      DOCKER=$client
      break
    fi
  done
  export DOCKER
}

# start_engine DIR [DATA]: on a bridge of its own, with rules of its own: beside any other engine on this
# machine, whose bridge and iptables chains it leaves alone. Sockets stand in DIR, which must have a short path.
start_engine() {
  local dir=$1 data=${2-$1/data} n
  [[ $EUID -eq 0 ]] || {
    echo "no Docker engine answers, and starting one takes root" >&2
    return 1
  }
  for n in {0..255}; do
    [[ -z $(ip route show "172.30.$n.0/24") ]] && ip link add "dbs$n" type bridge 2>/dev/null && break
  done
  echo "$n" >"$dir/bridge"
  echo "$data" >"$dir/data_root"
  ip address add "172.30.$n.1/24" dev "dbs$n"
  ip link set "dbs$n" up
  bridge_rules -I "$n"
  rm -f -- "$dir/docker.pid"
  service "$dir" dockerd dockerd --data-root "$data" --exec-root "$dir/exec" -p "$dir/docker.pid" \
    -H "unix://$dir/docker.sock" --bridge "dbs$n" --iptables=false
  export DOCKER_HOST=unix://$dir/docker.sock
  wait_until 60 "${DOCKER-docker}" version || {
    echo "the Docker engine did not start:" >&2
    tail -n 5 -- "$dir/dockerd.log" >&2
    return 1
  }
}

# bridge_rules -I|-D N: what lets containers on bridge N reach the network.
bridge_rules() {
  iptables -t nat "$1" POSTROUTING -s "172.30.$2.0/24" ! -o "dbs$2" -j MASQUERADE
  iptables "$1" FORWARD -i "dbs$2" -j ACCEPT
  iptables "$1" FORWARD -o "dbs$2" -j ACCEPT
}

# stop_engine DIR: also after a crash, which leaves containerd, containers and mounts behind.
stop_engine() {
  local dir=$1 pid mount n
  [[ -f $dir/dockerd.pid ]] || return 0
  end_process "$(<"$dir/dockerd.pid")"
  for pid in $(pgrep -f -- "$dir/exec"); do
    end_process "$pid"
  done
  while read -r mount; do
    umount -l -- "$mount" 2>/dev/null || true
  done < <(findmnt -rno TARGET | grep -F -e "$dir/" -e "$(<"$dir/data_root")" | sort -r)
  n=$(<"$dir/bridge")
  bridge_rules -D "$n" 2>/dev/null || true
  ip link delete "dbs$n" 2>/dev/null || true
  rm -rf --one-file-system -- "$dir/dockerd.pid" "$dir/exec" # a stale containerd.pid stops the next start
}

# start_registry DIR: on a free port, or the one it had.
start_registry() {
  local dir=$1 port=0
  [[ ! -f $dir/port ]] || port=$(<"$dir/port")
  mkdir -p -- "$dir/registry"
  printf '%s\n' "version: 0.1" "log: {level: info, accesslog: {disabled: true}}" \
    "storage: {filesystem: {rootdirectory: '$dir/registry'}, delete: {enabled: true}}" \
    "http: {addr: '127.0.0.1:$port'}" >"$dir/registry.yml"
  : >"$dir/registry.log"
  service "$dir" registry docker-registry serve "$dir/registry.yml"
  wait_until 20 grep -q 'listening on 127' "$dir/registry.log" || {
    echo "the registry did not start:" >&2
    tail -n 5 -- "$dir/registry.log" >&2
    return 1
  }
  grep -oEm1 'listening on 127[0-9.]+:[0-9]+' "$dir/registry.log" | sed 's/.*://' >"$dir/port"
  REGISTRY=127.0.0.1:$(<"$dir/port")
  export REGISTRY
}

stop_registry() {
  [[ -f $1/registry.pid ]] || return 0
  end_process "$(<"$1/registry.pid")"
  rm -f -- "$1/registry.pid"
}

# base_image: this machine's own node, npm and busybox as an image, as no hub needs to be reachable.
base_image() {
  BASE_IMAGE=docker-build-server/base:node-$(node -p process.versions.node)
  export BASE_IMAGE
  "$DOCKER" image inspect -- "$BASE_IMAGE" >/dev/null 2>&1 || {
    need busybox=busybox-static && import_base
  }
}

import_base() (
  set -euo pipefail
  root=$(mktemp -d)
  trap 'rm -rf -- "$root"' EXIT
  node=$(node -p process.execPath)
  npm=$(realpath -- "$(dirname -- "$(realpath -- "$(command -v npm)")")/..")
  bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}

  mkdir -p -- "$root"/{bin,etc/ssl,root,home/node,tmp,usr/local/bin,usr/local/lib/node_modules}
  chmod 1777 "$root/tmp"
  ln -s ../bin "$root/usr/bin" # scripts begin with /usr/bin/env
  cp -- "$(command -v busybox)" "$root/bin/busybox"
  cp -- "$node" "$root/usr/local/bin/node"
  for n in "$node" "$root/bin/busybox"; do
    ldd -- "$n" 2>/dev/null || true # a static one has none
  done | grep -oE '/[^ ]+' | sort -u \
    | xargs -d '\n' cp -L --parents -t "$root" --
  if [[ $npm == /usr/share/nodejs/* ]]; then # Debian's npm has its modules beside it
    cp -r --parents -t "$root" -- /usr/share/nodejs
  else
    cp -r -- "$npm" "$root/usr/local/lib/node_modules/npm"
    npm=/usr/local/lib/node_modules/npm
  fi
  rm -f -- "$root$npm/npmrc"
  for applet in $("$root/bin/busybox" --list); do
    [[ $applet == busybox ]] || ln -sf busybox "$root/bin/$applet"
  done
  ln -s "$npm/bin/npm-cli.js" "$root/usr/local/bin/npm"
  ln -s "$npm/bin/npx-cli.js" "$root/usr/local/bin/npx"
  printf '%s\n' root:x:0:0:root:/root:/bin/sh node:x:1000:1000:node:/home/node:/bin/sh >"$root/etc/passwd"
  printf '%s\n' root:x:0: node:x:1000: >"$root/etc/group"
  chown 1000:1000 "$root/home/node"
  [[ ! -f $bundle ]] || cp -L -- "$bundle" "$root/etc/ssl/ca.crt"
  tar -C "$root" -c . | "$DOCKER" import \
    -c "ENV PATH=/usr/local/bin:/bin" \
    -c "ENV SSL_CERT_FILE=/etc/ssl/ca.crt" \
    -c "ENV NODE_EXTRA_CA_CERTS=/etc/ssl/ca.crt" \
    -c "ENV npm_config_update_notifier=false" \
    -c 'CMD ["node"]' \
    - "$BASE_IMAGE" >/dev/null
)
