#!/usr/bin/env bash
# kept-modules.sh ENTRY COMMAND...: node_modules of this folder, from ENTRY if it is there; else by COMMAND, and then kept
#
# What ccache is to a compiler. The caller's ENTRY, a path in builds/.cache, names everything that decides the
# result. An entry is hard links: sound as long as nothing on the host writes into node_modules afterwards, and
# checked before use against the list of names, sizes and times written with it. It appears by rename, complete.
#
# Exit codes: those of COMMAND; 0 when the entry served
set -euo pipefail
shopt -s inherit_errexit

if [[ ${1-} == -h || $# -lt 2 ]]; then
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' -- "$0" && [[ ${1-} == -h ]] && exit 0
  exit 2
fi
entry=$1
shift

# list FOLDER: what is in it, as far as a look at its directories tells.
list() { find "$1" ! -type d -printf '%P %s %T@ %l\n' | LC_ALL=C sort; }

mkdir -p -- "${entry%/*}"
exec {lock}>"$entry.lock" # its time is that of the last use: prune.sh lets the oldest go first
flock -s "$lock"
if [[ -d $entry ]]; then
  rm -rf node_modules
  cp -al -- "$entry/node_modules" node_modules & # while it is looked at
  links=$!
  if cmp -s -- "$entry/list" <(list "$entry/node_modules") && wait "$links"; then
    echo "kept-modules.sh: ${entry##*/}, nothing to install"
    exit 0
  fi
  echo "kept-modules.sh: ${entry##*/} is damaged; installing anew"
  wait
  flock "$lock"
  rm -rf -- node_modules "$entry"
fi
flock -u "$lock" # nobody waits for somebody else's install

"$@" {lock}>&-
[[ -d node_modules && ! -L node_modules ]] || exit 0
half=$entry.tmp.$$
trap 'rm -rf -- "$half"' EXIT
flock "$lock"
# Not being able to keep it (a full disk, no hard links here) is no failure of the install.
if [[ ! -d $entry ]] && mkdir -- "$half" && cp -al -- node_modules "$half/node_modules"; then
  list "$half/node_modules" >"$half/list" && mv -T -- "$half" "$entry" || true
fi
