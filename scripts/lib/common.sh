# shellcheck shell=bash
# common.sh: what every step shares. Sourced, never run; sets no shell options.

scripts=$(dirname -- "${BASH_SOURCE[0]%/*}")
# Of whoever called us, say a git hook, nothing is to count: not a $build, not where its git works, nor a CDPATH,
# which makes cd go elsewhere, and print. The token is for git's network calls alone.
build=""
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE CDPATH
[[ ${0##*/} =~ ^(stage|clone|pipeline)\.sh$ ]] || unset GITHUB_TOKEN GITHUB_TOKEN_FILE

# fail CODE MESSAGE...: one line for a person (and, in .message, for result.json), then the exit code. A step that runs
# ahead of its turn only says it: it runs once more then.
fail() {
  local message="${0##*/}: ${*:2}"
  message=${message//[[:cntrl:]]/ } # names come from strangers
  printf '%s\n' "$message" >&2
  # Held by another (69): then the build's files are not ours to touch.
  [[ ! ${build-} || $1 -eq 69 || ${AHEAD-} ]] || { rm -f -- "$build/.reserve" && printf '%s\n' "$message" >"$build/.message"; } || true
  exit "$1"
}

# manual: a script's header comment is its help.
manual() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' -- "$0"; }

# open_build ARGS...: checks a step's one argument, takes the lock, and sets $build (absolute), $cache, and
# $container, the name of any container that runs for this build.
open_build() {
  if [[ ${1-} == -h ]]; then
    manual
    exit 0
  fi
  [[ $# -eq 1 && ${1:--} != -* ]] || fail 2 "usage: ${0##*/} BUILD, a build directory (-h explains)"
  [[ -f $1/build.json ]] || fail 2 "$1 is no build directory: it has no build.json (stage.sh makes one)"
  build=$(cd -P -- "$1" && pwd)
  local root=${build%/*/*/*}
  # shellcheck disable=SC2034 # the caller's
  cache=$root/.cache
  container=docker-build-server.${build#"$root/"}
  container=${container//\//.}
  lock_build
}

# lock_build: a step under the pipeline has inherited the pipeline's lock, any other takes it.
lock_build() {
  [[ ! ${LOCK_FD-} || ! /proc/self/fd/$LOCK_FD -ef $build/lock ]] || return 0
  exec {LOCK_FD}>>"$build/lock"
  flock -w 2 "$LOCK_FD" \
    || fail 69 "$build is being worked on by process $(<"$build/lock") (wait for it, or: make cancel BUILD=$build)"
  export LOCK_FD
  echo "$$" >"$build/lock"
}

# read_build KEY...: values of build.json, each into a variable named as its dotted key ends: a list into an array,
# an object into an associative one, null as nothing.
read_build() {
  local _entry _key _kind _in=$'\n' _asked=" $* " _found=0
  local -a _entries
  flatten
  for _entry in "${_entries[@]}"; do
    _key=${_entry%%[=[\{]*}
    if [[ $_asked == *" $_key "* ]]; then
      _found=$((_found + 1)) _in=$_key _kind=${_entry#"$_key"} _key=${_key##*.}
      unset -n _to
      unset -v "$_key"
      case $_kind in
        '[]') declare -ga "$_key" ;;
        '{}') declare -gA "$_key" ;;
        *) printf -v "$_key" %s "${_kind#=}" ;;
      esac
      local -n _to=$_key
    elif [[ $_entry == "$_in".*=* ]]; then
      _entry=${_entry#"$_in".}
      [[ $_kind == '{}' ]] && _to[${_entry%%=*}]=${_entry#*=} || _to+=("${_entry#*=}")
    fi
  done
  [[ $_found -eq $# ]] || fail 2 "$build/build.json cannot be read (stage the build again)"
}

# flatten: build.json as $_entries KEY=VALUE, KEY[] and KEY{}. jq takes long to start: what it made of the file is kept.
flatten() {
  local kept=$build/.build.kept
  if [[ $kept -nt $build/build.json ]]; then
    mapfile -d '' -t _entries <"$kept"
    [[ ${_entries[*]: -1} != end ]] || return 0 # cut off by a crash it has no end
  fi
  mapfile -d '' -t _entries < <(jq -j "$entries" -- "$build/build.json")
  if [[ ${_entries[*]: -1} == end ]]; then
    { printf '%s\0' "${_entries[@]}" >"$kept.tmp" && mv -f -- "$kept.tmp" "$kept"; } 2>/dev/null || rm -f -- "$kept.tmp"
  fi
}
# shellcheck disable=SC2016 # for jq to expand
entries='(paths as $path | getpath($path) | ($path | map(tostring) | join("."))
  + ({array: "[]", object: "{}", null: "="}[type] // "=\(.)"), "\u0000"), "end\u0000"'

# wrapper MODULE ARGS...: the Python side, by $PYTHON, else the checkout's virtual environment, else python3.
wrapper() {
  local root=${scripts%/*} python=${PYTHON-}
  [[ $python || ! -x $root/.venv/bin/python ]] || python=$root/.venv/bin/python
  # -P: modules are not looked for in whatever folder this happens to run in. An installed wheel finds itself.
  [[ ! -d $root/wrapper ]] || local -x PYTHONPATH=$root
  "${python:-python3}" -P -m "wrapper.$1" "${@:2}"
}

# ci_variables ID REPOSITORY COMMIT REF: sets $ci, what install and test commands are told of their build.
ci_variables() {
  ci=(CI=true "CI_PIPELINE_NUMBER=$1" "CI_REPO=$2" "CI_COMMIT_SHA=$3" "CI_COMMIT_REF=$4")
  case $4 in
    refs/heads/*) ci+=("CI_COMMIT_BRANCH=${4#refs/heads/}") ;;
    refs/tags/*) ci+=("CI_COMMIT_TAG=${4#refs/tags/}") ;;
    *) ;;
  esac
}

# now NAME: the time into that variable, in microseconds since 1970. (bash 5 knows it without a process.)
now() {
  local _now=${EPOCHREALTIME:-$(date +%s.%6N)}
  printf -v "$1" %s "${_now/[.,]/}"
}

# leave FILE TEXT: it becomes FILE of the build; written beside and renamed, so half of it is never seen.
leave() {
  printf %s "$2" >"$build/.$1.tmp" && mv -f -- "$build/.$1.tmp" "$build/$1" \
    || fail 75 "cannot write $build/$1 (is the disk full?)"
}

# need FILE...: what earlier steps should have left.
need() {
  local file
  for file; do
    [[ -e $build/$file ]] || fail 2 "$build has no $file (run the steps before this one first)"
  done
}

# observe COMMAND...: runs it; what it prints is seen as ever, and kept for said.
observe() {
  local code=0 tee
  { "$@"; } > >(exec tee -- "$build/.said" {LOCK_FD}>&-) 2>&1 || code=$?
  tee=$!
  drained "$tee"
  full=''
  kill -0 "$tee" 2>/dev/null || wait "$tee" || full=full # it could not keep it all
  # docker may leave its last line open
  [[ $code -eq 0 || -z $(tail -c 1 -- "$build/.said") ]] || echo
  return "$code"
}

# drained PID: waits until that tee has seen the last line: a moment, mostly; not for ever, as a stray process can hold it open.
drained() {
  local _
  for _ in {1..500}; do kill -0 "$1" 2>/dev/null || return 0; done
  timeout --foreground 2 tail -s 0.01 --pid="$1" -f /dev/null || true
}

# said REGEX: did the observed command print it?
said() { grep -qiE -- "$1" "$build/.said"; }

# full_disk: is that why it failed? Its own words may have found no room either.
full_disk() { [[ $full ]] || said 'no space left on device|ENOSPC'; }

# docker ARGS...: the client named in $DOCKER.
docker() { command "${DOCKER:-docker}" "$@"; }

# engine_answers: tells the engine's troubles from the repository's. It may hang, too.
engine_answers() { timeout --foreground 10 "${DOCKER:-docker}" version >/dev/null 2>&1; }

# run_container OPTION...: docker run, under the build's name for it. (.container: one may be left.)
run_container() {
  : >"$build/.container"
  docker run --init --name "$container" "$@"
}

# remove_container: ours, with its volumes, should it be there.
remove_container() {
  [[ -e $build/.container ]] || return 0
  timeout --foreground 5 "${DOCKER:-docker}" rm -fv -- "$container" >/dev/null 2>&1 && rm -f -- "$build/.container" || true
}

# inside PATH...: a path below src/ that exists must not lead out of the checkout (symlinks come from strangers).
inside() {
  local path real
  local -a paths=()
  for path; do [[ ! -e $build/src/$path && ! -L $build/src/$path ]] || paths+=("$path"); done
  [[ ${#paths[@]} -gt 0 ]] || return 0
  for path in "${paths[@]}"; do
    IFS= read -r -d '' real
    [[ $real/ == "$build/src/"* ]] || fail 1 "$path leads out of the checkout, to $real (make it a file of the repository)"
  done < <(realpath -mz -- "${paths[@]/#/$build/src/}")
}
