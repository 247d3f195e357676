#!/usr/bin/env bash
# kept-modules.sh takes finished node_modules from a cache, or keeps them there
#
# kept-modules.sh take ENTRY link|copy FOLDER...
# kept-modules.sh keep ENTRY link|copy FOLDER...
#
# What ccache is to a compiler. ENTRY, a path in builds/.cache, names everything that decides what
# is in it: of a lock file, installed without any script. FOLDERs, relative to this one, are those
# whose node_modules are meant. With `link` they are hard links to the kept files, for who writes
# into none of them; where scripts are to run it is `copy`. An entry is checked before use against
# the list of names, sizes and times written with it, and appears by rename, complete.
#
# Exit codes: take: 0 node_modules are there, 1 they are not; keep: 0, also where they cannot be
# kept; 2 called wrongly
set -euo pipefail
shopt -s inherit_errexit

# list FOLDER: what is in it, as far as a look at its directories tells.
list() {
  find "$1" ! -type d -printf '%P %s %T@ %l\n' | LC_ALL=C sort
}

# clear: removes the node_modules that are here.
clear() {
  rm -rf -- "${folders[@]/%//node_modules}"
}

# fetch: brings the kept ones here.
fetch() {
  local folder
  for folder in "${folders[@]}"; do
    if [[ -d $entry/tree/$folder/node_modules ]]; then
      mkdir -p -- "$folder"
      cp "${how[@]}" -- "$entry/tree/$folder/node_modules" "$folder/"
    fi
  done
}

take() {
  local copying
  if [[ ! -d $entry ]]; then
    return 1
  fi

  clear

  # They are made while it is looked at, which saves 0.05 s of 0.12 with 5,000 files.
  fetch &
  copying=$!
  if cmp -s -- "$entry/list" <(list "$entry/tree") && wait "$copying"; then
    return 0
  fi

  echo "kept-modules.sh: ${entry##*/} is damaged; installing anew"
  wait
  flock "$lock"
  clear
  rm -rf -- "$entry"
  return 1
}

# keep: not being able to (a full disk, no hard links here) is no failure of the install.
keep() {
  local folder
  if [[ -d $entry ]]; then
    return 0
  fi

  mkdir -p -- "$half/tree" || return 0
  for folder in "${folders[@]}"; do
    if [[ -d $folder/node_modules && ! -L $folder/node_modules ]]; then
      cp "${how[@]}" --parents -- "$folder/node_modules" "$half/tree" || return 0
    fi
  done

  if rmdir -- "$half/tree" 2>/dev/null; then
    return 0 # there was nothing to install
  fi

  list "$half/tree" >"$half/list" || return 0
  mv -T -- "$half" "$entry" || return 0
}

if [[ ${1-} == -h ]]; then
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' -- "$0"
  exit 0
fi

if [[ $# -lt 4 || ! "$1 $3" =~ ^(take|keep)\ (link|copy)$ ]]; then
  echo "usage: kept-modules.sh take|keep ENTRY link|copy FOLDER... (-h explains)" >&2
  exit 2
fi

entry=$2
how=(-a --link)
if [[ $3 == copy ]]; then
  how=(-a --reflink=auto)
fi

folders=("${@:4}")
half=$entry.tmp.$$
trap 'rm -rf -- "$half"' EXIT

mkdir -p -- "${entry%/*}"
: >"$entry.lock" # its time is that of the last use: prune.sh lets the oldest go first
exec {lock}<>"$entry.lock"
if [[ $1 == take ]]; then
  flock -s "$lock"
  take
else
  flock "$lock"
  keep
fi
