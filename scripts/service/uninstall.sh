#!/usr/bin/env bash
# uninstall.sh removes what install.sh put on this host, but for what is yours
#
# Configuration, tokens, builds and the user stay: it says how they go.
#
# Exit codes: 0 done, 2 called wrongly (not as root, say)
set -euo pipefail
shopt -s inherit_errexit
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/places.sh"

check_call "$@"

stop_units
if has_systemd; then
  systemctl disable -q -- "${units[@]}" 2>/dev/null || true
fi

rm -rf -- "$opt"
rm -f -- "$command" "$completion" "${units[@]/#/$system/}"
if has_systemd; then
  systemctl daemon-reload
fi

echo "uninstall.sh: done. These are yours, and stay:"
echo "  $etc       configuration and tokens   (rm -r $etc)"
echo "  $state   builds                     (rm -r $state)"
echo "  the user $user (userdel $user), and images on the engine (docker image prune -a)"
