# shellcheck shell=bash
# common.sh opens a build directory for the script that sources it, and says how that script failed.
# It is sourced, never run, and sets no shell options.

scripts=${BASH_SOURCE[0]%/lib/*}
schema=${scripts%/*}/wrapper/config.schema.json
if [[ ! -f $schema ]]; then
  schema=${scripts%/*}/config.schema.json # in an installed wheel the scripts stand in wrapper/
fi

# shellcheck source=scripts/lib/engine.sh
. "$scripts/lib/engine.sh"
# shellcheck source=scripts/lib/output.sh
. "$scripts/lib/output.sh"
# shellcheck source=scripts/lib/secrets.sh
. "$scripts/lib/secrets.sh"

# Nothing of the caller's, say of a git hook, is to count here. (With a CDPATH cd goes elsewhere.)
build=""
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE CDPATH

# A step may stand in a checkout, whose programs are a stranger's: of PATH only what begins with /
# counts.
absolute=''
IFS=: read -ra folders <<<"$PATH"
for folder in "${folders[@]}"; do
  if [[ $folder == /* ]]; then
    absolute+=:$folder
  fi
done

PATH=${absolute#:}
unset absolute folder folders

# Builds are for their user and the folder's group.
umask 027

# The token is for git's network calls alone: a script that makes some sets this before it sources.
# (The path of its file stays, for the cage to hide it.)
if [[ ! ${keep_token-} ]]; then
  unset GITHUB_TOKEN
fi

# manual: prints the header comment of the script, which is its help.
manual() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' -- "$0"; }

# complain WORDS: says in one line what is wrong, and keeps it as the build's message. A step that
# runs ahead of its turn only says it, as it runs once more then.
complain() {
  local message="${0##*/}: $*"

  # Names and last words come from strangers, and jq takes no argument of more than 128 KiB.
  message=${message:0:1000}
  message=${message//[[:cntrl:]]/ }
  printf '%s\n' "$message" >&2
  if [[ $build && ! ${AHEAD-} ]]; then
    rm -f -- "$build/.reserve" # on a full disk the message needs that room

    # Renamed, as two tags may be refused at once.
    { printf '%s\n' "$message" >"$build/.message.$BASHPID"; } 2>/dev/null || true
    mv -f -- "$build/.message.$BASHPID" "$build/.message" 2>/dev/null || true
  fi
}

# fail CODE WORDS: complains, and ends the script with that exit code.
fail() {
  complain "${@:2}"
  exit "$1"
}

# fail_for_good WORDS: it is ours, but to try it again would change nothing.
fail_for_good() {
  : >"$build/.lasting" || true
  fail 75 "$@"
}

# open_build ARGS...: opens the build directory that is a step's one argument. What a step prints
# that was called by itself goes to console.log too, and runs/STEP.json tells how it ended.
open_build() {
  take_build "$@"
  trap close_build EXIT
  if [[ $alone ]]; then
    rm -f -- "$build/.message"
    now run_began
    open_console
    size_of_log run_offset
  fi
}

# close_build: whatever ends a step, its container goes; and of a run by itself a record stays.
close_build() {
  local code=$?
  trap '' INT TERM
  remove_container
  if [[ $alone ]]; then
    close_console
    record_run "$code" || complain "cannot write $build/runs (is the disk full?)"
  fi
}

# record_run CODE: leaves runs/STEP.json.
record_run() {
  local ended size message step=${0##*/}

  now ended
  size_of_log size
  message=$(text_of .message)

  make_folder "$build/runs"
  leave "runs/${step%.sh}.json" "$(
    jq -n --arg by "${RUN_BY:-$(id -un)@$HOSTNAME}" --argjson code "$1" --arg message "$message" \
      --arg began "$(rfc3339 "$run_began")" --arg ended "$(rfc3339 "$ended")" \
      --argjson offset "$run_offset" --argjson size "$size" '{format: 1, $by, started_at: $began,
        finished_at: $ended, exit_code: $code, $offset, "end": $size,
        message: (if $message == "" then null else $message end)}'
  )"
}

# take_build ARGS...: checks the one argument and takes the build's lock. Sets $build (absolute),
# $cache (builds/.cache), $entry (the repository's name in config.json) and $container (the name of
# any container that runs for this build).
take_build() {
  local folder builds

  if [[ ${1-} == -h ]]; then
    manual
    exit 0
  fi

  if [[ $# -ne 1 || ${1:--} == -* ]]; then
    fail 2 "usage: ${0##*/} BUILD, a build directory (-h explains)"
  fi

  if [[ ! -f $1/build.json ]]; then
    fail 2 "$1 is no build directory: it has no build.json (stage.sh makes one)"
  fi

  folder=$(cd -P -- "$1" && pwd)
  builds=${folder%/*/*/*}
  # shellcheck disable=SC2034 # for who sources this
  cache=$builds/.cache
  entry=${folder#"$builds/"}
  container=docker-build-server.${entry//\//.}
  entry=${entry%/*}
  check_format "$folder"
  take_lock "$folder"
  cache_lock=$LOCK_FD # until there is one
  build=$folder
  if [[ $alone ]]; then
    fill_in_settings
  fi
  find_secrets
}

# check_format FOLDER: refuses a build that a later version has staged.
check_format() {
  local json format='^[[:space:]]*\{[[:space:]]*"format":[[:space:]]*([0-9]+)'

  json=$(<"$1/build.json")
  if [[ ! $json =~ $format ]]; then
    fail 2 "$1/build.json cannot be read (stage the build again)"
  fi

  if [[ ${BASH_REMATCH[1]} -ne 1 ]]; then
    fail 2 "$1/build.json has format ${BASH_REMATCH[1]}, this version knows 1" \
      "(update docker-build-server)"
  fi
}

# take_lock FOLDER: takes the build's lock, unless it is inherited from the pipeline: then $alone is
# ''.
take_lock() {
  local holder

  alone=''
  if [[ ${LOCK_FD-} && /proc/self/fd/$LOCK_FD -ef $1/lock ]]; then
    return
  fi

  if ! { : >>"$1/lock"; } 2>/dev/null; then
    fail 75 "cannot write $1/lock (whose is it? ls -l tells)"
  fi

  exec {LOCK_FD}<>"$1/lock"
  if ! flock -w 2 "$LOCK_FD"; then
    read -ra holder <"$1/lock" || true

    # It holds HOST PID TOKEN; in a lock of version 0.1.0 the process ID stands alone.
    fail 69 "$1 is being worked on by process ${holder[1]-${holder[0]-}}" \
      "(wait for it, or: make cancel BUILD=$1)"
  fi

  LOCK_TOKEN=$(</proc/sys/kernel/random/uuid)
  export LOCK_FD LOCK_TOKEN
  alone=alone
  echo "${HOSTNAME// /} $$ $LOCK_TOKEN" >"$1/lock"
}

# holds_lock: does the lock still name this run? On a shared folder a machine that was cut off loses
# it to another, which works on the build from then on.
holds_lock() {
  [[ ! ${LOCK_TOKEN-} || $(text_of lock) == *" $LOCK_TOKEN" ]]
}

# fact KEY: prints a text of build.json. A pattern finds it, as jq takes 20 ms to start and each
# step asks; within a text each quote has a backslash before it, so no text is taken for a key.
fact() {
  local json text="\"$1\":[[:space:]]*\"(([^\"\\\\]|\\\\.)*)\""
  json=$(<"$build/build.json")
  if [[ ! $json =~ $text ]]; then
    fail 2 "$build/build.json cannot be read (stage the build again)"
  fi

  printf %s "${BASH_REMATCH[1]//\\\"/\"}"
}

# setting NAME: prints a text among the settings, as test/network; nothing where it is null. (One
# that never is null can be read as "$(<"$build/settings/NAME")", which saves 0.5 ms each.)
setting() { text_of "settings/$1"; }

# repository: prints OWNER/NAME of the repository, which several entries may share.
repository() {
  local name
  name=$(setting repository)
  echo "${name:-$entry}"
}

# text_of FILE: prints a file of the build, if it is there.
text_of() {
  if [[ -f $build/$1 ]]; then
    printf %s "$(<"$build/$1")"
  fi
}

# list_setting ARRAY NAME: sets the array to the items of a list; to none where it is null.
list_setting() {
  local -n _items=$1
  _items=()
  if [[ -f $build/settings/$2 ]]; then
    mapfile -d '' -t _items <"$build/settings/$2"
  fi
}

# fill_in_settings: a build may be staged by a version that had no settings/, or fewer of them. What
# is not there gets its value in build.json, else the schema's default. The checksum of the schema,
# in settings/.schema, tells that all is there.
fill_in_settings() {
  local checksum
  local -a parts

  checksum=$(cksum <"$schema")
  if [[ -f $build/settings/.schema && $(<"$build/settings/.schema") == "$checksum" ]]; then
    return
  fi

  mapfile -d '' -t parts < <(
    jq -jn -L "$scripts/lib" --slurpfile schema "$schema" --slurpfile build "$build/build.json" \
      'include "settings"; ($schema[0]["$defs"].settings | defaults) * $build[0].settings | files' \
      2>/dev/null
  )
  if [[ ${parts[*]: -1} != end ]]; then
    fail 2 "$build/build.json cannot be read (stage the build again)"
  fi

  write_settings "$build" "$checksum" "${parts[@]}"
}

# write_settings FOLDER CHECKSUM PART...: makes FOLDER/settings of what settings.jq prints; a file
# that is there stays. The checksum comes last: with it all is there.
write_settings() {
  local file kind settings=$1/settings checksum=$2
  local unwritten="cannot write $settings (is the disk full?)"
  local -a folders=("${@:4:$3}")

  mkdir -p -- "${folders[@]/#/"$settings"}" || fail 75 "$unwritten"
  shift "$((3 + $3))"
  while [[ $# -gt 1 ]]; do
    file=$settings$1 kind=$2
    shift 2
    if [[ -e $file ]]; then
      : # a person may have edited it
    elif [[ $kind == text ]]; then
      printf %s "$1" >"$file" || fail 75 "$unwritten"
    elif [[ $kind -eq 0 ]]; then
      : >"$file" || fail 75 "$unwritten"
    else
      printf '%s\0' "${@:1:kind}" >"$file" || fail 75 "$unwritten"
    fi

    shift "${kind/text/1}"
  done

  printf %s "$checksum" >"$settings/.schema" || fail 75 "$unwritten"
}

# leave FILE TEXT...: each becomes FILE of the build, those of one call in the same folder; written
# beside and renamed, so half of one is never seen.
leave() {
  local folder=$build/${1%"${1##*/}"} half
  local -a halves=()

  make_folder "$build/.half"
  while [[ $# -gt 0 ]]; do
    half=$build/.half/${1##*/}
    printf %s "$2" >"$half" || fail 75 "cannot write $build/$1 (is the disk full?)"
    halves+=("$half")
    shift 2
  done

  mv -f -- "${halves[@]}" "$folder" || fail 75 "cannot write to $folder (is the disk full?)"
}

# make_folder PATH: unless it is there, which is to be had without a process.
make_folder() { [[ -d $1 ]] || mkdir -p -- "$1" || fail 75 "cannot write $1 (is the disk full?)"; }

# lock_cache PATH [OPTION]: locks a part of builds/.cache. Sets $cache_lock to the descriptor. The
# time of the lock file is that of the last use: prune.sh lets the oldest go first.
lock_cache() {
  make_folder "${1%/*}"
  if ! : >"$1.lock"; then
    fail 75 "cannot write ${1%/*} (is the disk full?)"
  fi

  exec {cache_lock}<>"$1.lock"
  flock "${@:2}" "$cache_lock"
}

# without_locks COMMAND...: what it leaves running, say a credential cache, is to hold none of ours.
without_locks() { "$@" {LOCK_FD}>&- {cache_lock}>&-; }

# need FILE...: fails where earlier steps have not left these.
need() {
  local file
  for file; do
    if [[ ! -e $build/$file ]]; then
      fail 2 "$build has no $file (run the steps before this one first)"
    fi
  done
}

# remove_tree PATH...: removes what is there of them, also folders that an install script has taken
# all rights from.
remove_tree() {
  local path
  local -a left=()

  for path; do
    if [[ -e $path || -L $path ]]; then
      left+=("$path")
    fi
  done

  if [[ ${#left[@]} -gt 0 ]] && ! rm -rf -- "${left[@]}" 2>/dev/null; then
    chmod -R u+rwX -- "${left[@]}" 2>/dev/null || true
    rm -rf -- "${left[@]}" \
      || fail 75 "cannot remove what an earlier run left (rm's reason is above)"
  fi
}

# inside PATH...: fails where a path below src/ leads out of the checkout: links come from
# strangers.
inside() {
  local path real
  local -a paths=()

  for path; do
    if [[ -e $build/src/$path || -L $build/src/$path ]]; then
      paths+=("$path")
    fi
  done

  if [[ ${#paths[@]} -eq 0 ]]; then
    return
  fi

  for path in "${paths[@]}"; do
    IFS= read -r -d '' real
    if [[ $real/ != "$build/src/"* ]]; then
      fail 1 "$path leads out of the checkout, to $real (make it a file of the repository)"
    fi
  done < <(realpath -mz -- "${paths[@]/#/$build/src/}")
}

# in_src ARGS...: git in the checkout, which runs nothing of it, and whose answers do not hang on
# how the operator has set up git. (Without --git-dir it would look further up, should src/.git be
# damaged.)
in_src() {
  git -C "$build/src" --git-dir=.git -c core.hooksPath=/dev/null -c core.fsmonitor=false \
    -c log.showSignature=false -c log.mailmap=false -c log.follow=false -c log.showRoot=true "$@"
}

# in_mirror ARGS...: git in $mirror, quietly. (With -C it would look further up, should this one be
# damaged.)
in_mirror() { git --git-dir="$mirror" "$@" 2>/dev/null; }

# wrapper MODULE ARGS...: runs a module of the Python side, by $PYTHON, else the checkout's virtual
# environment, else python3. With -P modules are not looked for in whatever folder this runs in.
# LIMIT=SECONDS ends it by then.
wrapper() {
  local checkout=${scripts%/*} python=${PYTHON-}

  if [[ ! $python && -x $checkout/.venv/bin/python ]]; then
    python=$checkout/.venv/bin/python
  fi

  if [[ -d $checkout/wrapper ]]; then
    local -x PYTHONPATH=$checkout # an installed wheel finds itself
  fi

  timeout --foreground -k 1 "${LIMIT-0}" "${python:-python3}" -P -m "wrapper.$1" "${@:2}"
}

# ci_variables: sets $ci, what install and test commands are told of their build.
ci_variables() {
  local ref

  ref=$(fact ref)
  ci=(CI=true "CI_PIPELINE_NUMBER=${build##*/}" "CI_COMMIT_REF=$ref")
  ci+=("CI_REPO=$(setting repository)" "CI_COMMIT_SHA=$(fact commit)")
  case $ref in
    refs/heads/*) ci+=("CI_COMMIT_BRANCH=${ref#refs/heads/}") ;;
    refs/tags/*) ci+=("CI_COMMIT_TAG=${ref#refs/tags/}") ;;
    *) ;;
  esac
}

# now NAME: sets it to the time, in microseconds since 1970. (bash 5 knows that without a process.)
now() {
  local _now=${EPOCHREALTIME:-$(date +%s.%6N)}
  printf -v "$1" %s "${_now/[.,]/}"
}

# rfc3339 MICROSECONDS: prints that time, in UTC, as 2026-11-22T05:10:00.123456Z.
rfc3339() { TZ=UTC0 printf '%(%Y-%m-%dT%H:%M:%S)T.%sZ' "${1:0:-6}" "${1: -6}"; }
