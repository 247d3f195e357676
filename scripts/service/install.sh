#!/usr/bin/env bash
# install.sh puts the server on this host, as a service; run again, it upgrades it
#
#   /opt/docker-build-server/       a virtual environment with the wheel of this checkout
#   /usr/local/bin/                 the command, which reads the configuration below
#   /etc/docker-build-server/       config.json, github-token, api-token, targets.json, secrets/:
#                                   yours, never overwritten
#   /etc/systemd/system/            docker-build-server.service, docker-build-server-web.service
#   /var/lib/docker-build-server/   builds/ and home/, of the user builder, who is made
#
# and bash's completion of the command. Services that run are stopped for it, and started again:
# builds that wait or were interrupted go on. None is started that did not run.
#
# Exit codes: 0 done, 1 it went wrong, 2 called wrongly (not as root, say)
set -euo pipefail
shopt -s inherit_errexit
self=$(realpath -- "${BASH_SOURCE[0]}")
here=${self%/*}
checkout=${self%/scripts/service/*}
. "$here/places.sh"

check_call "$@"

if [[ ! -f $checkout/pyproject.toml ]]; then
  fail 2 "$checkout is no checkout of the project, from which it could be installed"
fi

# keep FILE MODE OWNER [CONTENT]: makes it, unless it is there.
keep() {
  if [[ ! -e $1 ]]; then
    (umask 077 && printf '%s' "${4-}" >"$1")
    chown -- "$3" "$1"
    chmod -- "$2" "$1"
    echo "install.sh: $1 is new"
  fi
}

umask 022
trap start_units EXIT # also where something goes wrong
stop_units

if ! id -u "$user" >/dev/null 2>&1; then
  useradd --system --user-group --home-dir "$state/home" --no-create-home \
    --shell /usr/sbin/nologin "$user"
fi

echo "install.sh: the package and what it needs go into $opt (this may take a minute)"
python3 -m venv "$opt" || fail 1 "python3 cannot make $opt (Debian: apt-get install python3-venv)"
"$opt/bin/pip" install -q --upgrade "${checkout}[web]" \
  || fail 1 "pip cannot install $checkout (its reason is above)"
ln -sfn -- "$("$opt/bin/python" -c 'import wrapper; print(wrapper.__path__[0])')" "$opt/package"

install -d -m 0755 "${command%/*}" "${completion%/*}"
install -m 0755 "$here/command" "$command"
install -m 0644 "$checkout/scripts/completion.bash" "$completion"
install -d -m 0750 -g "$user" "$etc" "$etc/secrets"
install -d -m 0755 "$state"
install -d -m 0750 -o "$user" -g "$user" "$state/builds" "$state/home"

keep "$etc/config.json" 0640 "root:$user" "$(<"$here/config.json")"$'\n'
keep "$etc/targets.json" 0640 "root:$user" $'{}\n'
keep "$etc/github-token" 0600 root:root
keep "$etc/api-token" 0600 root:root "$(head -c 24 /dev/urandom | base64)"$'\n'

for unit in "${units[@]}"; do
  install -m 0644 "$here/$unit" "$system/$unit"
done

trap - EXIT
start_units

version=$("$command" --version)
echo "install.sh: $version is installed. Next:"
echo "  $etc/config.json      name your repositories, then: docker-build-server check"
echo "  $etc/github-token     a token, for private repositories and commit statuses"
echo "  usermod -aG $user YOU                        who may read builds, and ask for them"
echo "  sudo -u $user HOME=$state/home docker login REGISTRY"
echo "  systemctl enable --now ${units[*]}"
