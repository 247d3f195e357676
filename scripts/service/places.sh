# shellcheck shell=bash
# places.sh names what install.sh puts where, and starts and stops the units.
# shellcheck disable=SC2034 # for those who source it

opt=/opt/docker-build-server
etc=/etc/docker-build-server
state=/var/lib/docker-build-server
system=/etc/systemd/system
command=/usr/local/bin/docker-build-server
completion=/usr/share/bash-completion/completions/docker-build-server
user=builder
units=(docker-build-server.service docker-build-server-web.service)
running=()

manual() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' -- "$0"; }

fail() {
  printf '%s: %s\n' "${0##*/}" "${*:2}" >&2
  exit "$1"
}

# check_call ARGS...: -h is the one argument there is, and only root may go on.
check_call() {
  if [[ ${1-} == -h ]]; then
    manual
    exit 0
  fi

  if [[ $# -gt 0 || $EUID -ne 0 ]]; then
    fail 2 "usage: ${0##*/}, as root (-h explains)"
  fi
}

has_systemd() { [[ -d /run/systemd/system ]]; }

# stop_units: those that run, which start_units starts again.
stop_units() {
  running=()
  if ! has_systemd; then
    return
  fi

  for unit in "${units[@]}"; do
    if systemctl is-active -q -- "$unit"; then
      running+=("$unit")
      systemctl stop -- "$unit"
    fi
  done
}

start_units() {
  if ! has_systemd; then
    return
  fi

  systemctl daemon-reload
  if [[ ${#running[@]} -gt 0 ]]; then
    systemctl start -- "${running[@]}"
  fi
}
