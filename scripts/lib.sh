# shellcheck shell=bash
# lib.sh: what every step shares. Sourced, never run; sets no shell options.

# fail CODE MESSAGE...: one line for a person, then the exit code for the pipeline.
fail() {
  local code=$1
  shift
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit "$code"
}

# manual: the script's header comment is its help.
manual() { sed -n '2,/^[^#]/{/^#/!q; s/^# \{0,1\}//; p;}' "$0"; }

# open_build ARGS...: checks a step's one argument, sets $build (absolute), takes the lock.
open_build() {
  if [[ $# -eq 1 && $1 == -h ]]; then
    manual
    exit 0
  fi
  [[ $# -eq 1 && $1 != -* ]] || fail 2 "usage: ${0##*/} BUILD (a build directory; -h explains)"
  [[ -f $1/build.json ]] || fail 2 "$1 is no build directory: it has no build.json (stage.sh makes one)"
  build=$(realpath -- "$1")
  lock_build
}

# lock_build: a step under the pipeline has inherited the pipeline's lock, any other takes it.
lock_build() {
  if [[ ! ${LOCK_FD-} || ! "/proc/self/fd/$LOCK_FD" -ef $build/lock ]]; then
    exec {LOCK_FD}>>"$build/lock"
    flock -w 2 "$LOCK_FD" \
      || fail 69 "$build is being worked on by process $(<"$build/lock") (wait for it, or: docker-build-server cancel)"
    export LOCK_FD
    echo "$$" >"$build/lock"
  fi
}

# read_build FILTER NAME...: one jq over build.json; its strings go to the variables, more of them to $rest.
read_build() {
  local -n _name
  local -a _values
  mapfile -d '' -t _values < <(jq -j "($1) | tostring, \"\\u0000\"" "$build/build.json") && wait "$!" \
    || fail 2 "$build/build.json cannot be read (stage the build again)"
  shift
  for _name; do
    _name=${_values[0]-}
    _values=("${_values[@]:1}")
  done
  rest=("${_values[@]}")
}

# leave FILE < CONTENT: written beside and renamed, so that half of it is never seen.
leave() {
  cat >"$build/.$1.tmp"
  mv -f -- "$build/.$1.tmp" "$build/$1"
}
