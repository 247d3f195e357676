# shellcheck shell=bash
# services.bash starts and ends the real parts that tests and demo run on: an engine and a registry.
#
#   need COMMAND=PACKAGE...    installs the packages of the commands that are missing
#   docker_client              exports DOCKER: the client with BuildKit, where there is one
#   start_engine DIR [DATA]    a private Docker engine; exports DOCKER_HOST     stop_engine DIR
#   start_registry DIR [HOST]  a registry on 127.0.0.1; exports REGISTRY        stop_registry DIR
#   base_image                 exports BASE_IMAGE: node, npm and a shell; imported once per engine
#   compiler_image             exports COMPILER_IMAGE: that, and what node-gyp compiles with
#   debian_image               prints the name of a Debian with node, for the server's own image
#
# This file is sourced. DIR is an existing folder for one service; its files say what runs there.
# DATA (default: in DIR) may outlive it. A stopped service starts again on the same DIR with the
# same data, a registry on the same port.

PATH=$PATH:/usr/sbin:/sbin

# need COMMAND=PACKAGE...: Debian's packages bring the commands that are missing, in one call.
need() {
  local pair package
  local -a missing=()

  for pair; do
    package=${pair#*=}
    if ! command -v "${pair%%=*}" >/dev/null && [[ " ${missing[*]} " != *" $package "* ]]; then
      missing+=("$package")
    fi
  done
  if [[ ${#missing[@]} -eq 0 ]]; then
    return 0
  fi

  if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
    echo "missing: ${missing[*]} (Debian's names; install them, or run this as root on Debian)" >&2
    return 1
  fi
  echo "installing ${missing[*]}" >&2
  apt-get -qq update >/dev/null
  DEBIAN_FRONTEND=noninteractive \
    apt-get -qq -y install --no-install-recommends "${missing[@]}" >/dev/null
}

# wait_until SECONDS COMMAND...: it is tried until it succeeds; 1 when it never does.
wait_until() {
  local end=$((SECONDS + $1))
  shift

  until "$@" >/dev/null 2>&1; do
    if [[ $SECONDS -ge $end ]]; then
      return 1
    fi
    sleep 0.1
  done
}

# service DIR NAME COMMAND...: it has a session of its own, so that Ctrl-C reaches only the tests.
service() {
  local dir=$1
  local name=$2
  shift 2

  setsid -- "$@" </dev/null >>"$dir/$name.log" 2>&1 &
  echo "$!" >"$dir/$name.pid"
  disown
}

# did_not_start WHAT LOG: says so, with the last words of its log.
did_not_start() {
  echo "$1 did not start:" >&2
  tail -n 5 -- "$2" >&2
  return 1
}

# end_process PID: it gets TERM, and KILL after 20 s. This comes back when it is gone.
end_process() {
  if [[ -z $1 ]] || ! kill -- "$1" 2>/dev/null; then
    return 0
  fi

  if ! wait_until 20 gone "$1"; then
    kill -KILL -- "$1" 2>/dev/null || true
  fi
  wait_until 5 gone "$1"
}

# gone PID: has it ended? A process that nobody has waited for (a zombie) has.
gone() {
  [[ ! -e /proc/$1 || $(<"/proc/$1/stat") == *') Z '* ]]
}

docker_client() {
  local client
  local -a clients

  if [[ -n ${DOCKER-} ]]; then
    return 0
  fi

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

# The engine has a bridge and rules of its own, so it can stand beside any other engine on this
# machine, whose bridge and iptables chains it leaves alone. Its sockets are in DIR, so the path of
# DIR has to be short.
start_engine() {
  local dir=$1
  local data=${2-$dir/data}
  local bridge

  if [[ $EUID -ne 0 ]]; then
    echo "no Docker engine answers, and starting one takes root" >&2
    return 1
  fi

  bridge=$(add_bridge)
  echo "$bridge" >"$dir/bridge"
  echo "$data" >"$dir/data_root"
  ip address add "172.30.$bridge.1/24" dev "dbs$bridge"
  ip link set "dbs$bridge" up
  bridge_rules -I "$bridge"

  rm -f -- "$dir/docker.pid"
  service "$dir" dockerd dockerd --data-root "$data" --exec-root "$dir/exec" \
    -p "$dir/docker.pid" -H "unix://$dir/docker.sock" --bridge "dbs$bridge" --iptables=false
  export DOCKER_HOST=unix://$dir/docker.sock
  wait_until 60 "${DOCKER-docker}" version || did_not_start "the Docker engine" "$dir/dockerd.log"
}

# add_bridge adds a bridge for a network that this machine does not have, and prints its number.
add_bridge() {
  local n

  for n in {0..255}; do
    if [[ -n $(ip route show "172.30.$n.0/24") ]]; then
      continue
    fi
    if ip link add "dbs$n" type bridge 2>/dev/null; then
      echo "$n"
      return 0
    fi
  done

  echo "no bridge can be made: each network from 172.30.0.0 to 172.30.255.0 is taken" >&2
  return 1
}

# bridge_rules -I|-D N: these rules let containers on bridge N reach the network.
bridge_rules() {
  iptables -t nat "$1" POSTROUTING -s "172.30.$2.0/24" ! -o "dbs$2" -j MASQUERADE
  iptables "$1" FORWARD -i "dbs$2" -j ACCEPT
  iptables "$1" FORWARD -o "dbs$2" -j ACCEPT
}

# An engine that crashed leaves containerd, containers and mounts behind; this ends those too.
stop_engine() {
  local dir=$1
  local pid data mount bridge

  if [[ ! -f $dir/dockerd.pid ]]; then
    return 0
  fi
  data=$(<"$dir/data_root")
  bridge=$(<"$dir/bridge")

  end_process "$(<"$dir/dockerd.pid")"
  for pid in $(pgrep -f -- "$dir/exec"); do
    end_process "$pid"
  done

  while read -r mount; do
    case $mount in
      "$dir"/* | "$data"/*) umount -l -- "$mount" 2>/dev/null || true ;;
      *) ;;
    esac
  done < <(findmnt -rno TARGET | sort -r)

  bridge_rules -D "$bridge" 2>/dev/null || true
  ip link delete "dbs$bridge" 2>/dev/null || true

  # A containerd.pid that is left in exec/ would stop the next start.
  rm -rf --one-file-system -- "$dir/dockerd.pid" "$dir/exec"
}

start_registry() {
  local dir=$1
  local host=${2-127.0.0.1}
  local port=0

  # The port is a free one, or the one it had, or that of HOST.
  if [[ $host == *:* ]]; then
    port=${host#*:} host=${host%:*}
  fi
  if [[ -f $dir/port ]]; then
    port=$(<"$dir/port")
  fi

  mkdir -p -- "$dir/registry"
  cat >"$dir/registry.yml" <<END
version: 0.1
log: {level: info}
storage: {filesystem: {rootdirectory: '$dir/registry'}, delete: {enabled: true}}
http: {addr: '$host:$port'}
END
  : >"$dir/registry.log"
  service "$dir" registry docker-registry serve "$dir/registry.yml"

  if ! wait_until 20 grep -q "listening on $host" "$dir/registry.log"; then
    did_not_start "the registry" "$dir/registry.log"
    return 1
  fi
  grep -oEm1 'listening on [0-9.]+:[0-9]+' "$dir/registry.log" | sed 's/.*://' >"$dir/port"
  REGISTRY=$host:$(<"$dir/port")
  export REGISTRY
}

stop_registry() {
  if [[ ! -f $1/registry.pid ]]; then
    return 0
  fi

  end_process "$(<"$1/registry.pid")"
  rm -f -- "$1/registry.pid"
}

# The base image is made of this machine's own node, npm and busybox, so no hub has to be reachable.
base_image() {
  BASE_IMAGE=docker-build-server/base:node-$(node -p process.versions.node)
  export BASE_IMAGE

  if ! "$DOCKER" image inspect -- "$BASE_IMAGE" >/dev/null 2>&1; then
    import_base
  fi
}

import_base() (
  set -euo pipefail
  node=$(node -p process.execPath)
  npm=$(realpath -- "$(dirname -- "$(realpath -- "$(command -v npm)")")/..")
  busybox=$(command -v busybox)
  bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}

  root=$(mktemp -d)
  trap 'rm -rf -- "$root"' EXIT
  mkdir -p -- "$root"/{bin,etc/ssl,root,home/node,tmp,usr/local/bin,usr/local/lib/node_modules}
  chmod 1777 "$root/tmp"
  ln -s ../bin "$root/usr/bin" # scripts begin with /usr/bin/env

  cp -- "$busybox" "$root/bin/busybox"
  for applet in $("$busybox" --list); do
    if [[ $applet != busybox ]]; then
      ln -sf busybox "$root/bin/$applet"
    fi
  done

  # The libraries of both are copied to the same paths. A static program has none.
  cp -- "$node" "$root/usr/local/bin/node"
  for program in "$node" "$busybox"; do
    ldd -- "$program" 2>/dev/null || true
  done | grep -oE '/[^ ]+' | sort -u | xargs -d '\n' cp -L --parents -t "$root" --

  # Debian's npm has its modules beside it, any other one is a folder by itself.
  if [[ $npm == /usr/share/nodejs/* ]]; then
    cp -r --parents -t "$root" -- /usr/share/nodejs
  else
    cp -r -- "$npm" "$root/usr/local/lib/node_modules/npm"
    npm=/usr/local/lib/node_modules/npm
  fi
  rm -f -- "$root$npm/npmrc"
  ln -s "$npm/bin/npm-cli.js" "$root/usr/local/bin/npm"
  ln -s "$npm/bin/npx-cli.js" "$root/usr/local/bin/npx"

  cat >"$root/etc/passwd" <<'END'
root:x:0:0:root:/root:/bin/sh
node:x:1000:1000:node:/home/node:/bin/sh
END
  printf '%s\n' root:x:0: node:x:1000: >"$root/etc/group"
  chown 1000:1000 "$root/home/node"
  if [[ -f $bundle ]]; then
    cp -L -- "$bundle" "$root/etc/ssl/ca.crt"
  fi

  tar -C "$root" -c . | "$DOCKER" import \
    -c "ENV PATH=/usr/local/bin:/bin" \
    -c "ENV SSL_CERT_FILE=/etc/ssl/ca.crt" \
    -c "ENV NODE_EXTRA_CA_CERTS=/etc/ssl/ca.crt" \
    -c "ENV npm_config_update_notifier=false" \
    -c 'CMD ["node"]' \
    - "$BASE_IMAGE" >/dev/null
)

# compiler_image exports COMPILER_IMAGE: the base image, and what node-gyp wants: this machine's
# gcc, make and python3, from Debian, and the headers of its node (in /usr, which nodedir names).
compiler_image() {
  base_image
  need gcc=gcc g++=g++ make=make python3=python3
  COMPILER_IMAGE=docker-build-server/compilers:${BASE_IMAGE##*:}
  export COMPILER_IMAGE

  if ! "$DOCKER" image inspect -- "$COMPILER_IMAGE" >/dev/null 2>&1; then
    build_compilers
  fi
}

build_compilers() (
  set -euo pipefail
  headers=$(node -p 'path.resolve(process.execPath, "../../include/node")')
  if [[ ! -e $headers/node_api.h ]]; then
    echo "node's headers are not in $headers (they come with node; with Debian's: libnode-dev)" >&2
    return 1
  fi

  folder=$(mktemp -d)
  trap 'rm -rf -- "$folder"' EXIT
  mkdir -p -- "$folder/usr/include"
  cp -rL -- "$headers" "$folder/usr/include/node"

  # The files of these packages, and the libraries of the programs that compile.
  wanted='binutils.*|cpp.*|g(cc|[+][+])(-[0-9].*)?|libc6(-dev)?|libgcc-.*-dev|libstdc[+][+]-.*-dev'
  wanted+='|linux-libc-dev|libcrypt-dev|make|(lib)?python3(\.[0-9]+)?(-minimal|-stdlib)?'
  dpkg-query -W -f '${Package}:${Architecture}\n' | sed 's/:all$//' \
    | grep -xE "($wanted)(:.*)?" | xargs dpkg -L >"$folder/files"
  for program in "$(gcc -print-prog-name=cc1)" "$(gcc -print-prog-name=cc1plus)" \
    /usr/bin/{as,ld,make,python3}; do
    ldd -- "$program"
  done | grep -oE '/[^ ]+' >>"$folder/files"
  sort -u -- "$folder/files" | while IFS= read -r file; do
    if [[ -f $file && $file != */lto* && $file != /usr/share/* ]]; then
      printf '%s\n' "${file#/}"
    fi
  done | tar -C / -ch --no-recursion -T - -f "$folder/tools.tar"

  # In the base image /usr/bin is /bin, from where gcc does not find its own parts.
  cat >"$folder/Dockerfile" <<END
FROM $BASE_IMAGE
ADD tools.tar /
COPY usr /usr
ENV GCC_EXEC_PREFIX=/usr/lib/gcc/ CC=gcc CXX=g++ npm_config_nodedir=/usr
END
  DOCKER_BUILDKIT=1 "$DOCKER" build -q -t "$COMPILER_IMAGE" "$folder" >/dev/null
)

# debian_image prints the name of a Debian 13 with this machine's node: a BASE for
# scripts/image/Dockerfile, where no hub can be reached. It is made once per engine.
debian_image() {
  base_image
  local mirror name=${BASE_IMAGE/base/debian}
  local bundle=/etc/ssl/certs/ca-certificates.crt

  if ! "$DOCKER" image inspect -- "$name" >/dev/null 2>&1; then
    need mmdebstrap=mmdebstrap >&2

    # From where this machine has its own packages, which are of another release.
    # shellcheck disable=SC2016 # for apt-get to expand
    mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -m 1 '/debian/$') || true
    mmdebstrap --quiet --variant=apt --include=ca-certificates trixie - ${mirror:+"$mirror"} \
      | "$DOCKER" import - "$name-bare" >/dev/null
    DOCKER_BUILDKIT=1 "$DOCKER" build --quiet --tag "$name" - >/dev/null <<END_OF_FILE
FROM $name-bare
COPY --from=$BASE_IMAGE /usr/local /usr/local
COPY --from=$BASE_IMAGE /etc/ssl/ca.crt $bundle
ENV SSL_CERT_FILE=$bundle PIP_CERT=$bundle NODE_EXTRA_CA_CERTS=$bundle
END_OF_FILE
  fi
  echo "$name"
}
