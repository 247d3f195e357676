#!/usr/bin/env bash
# launch.sh BUILD runs a build as pipeline.sh does, but on another machine, as a job of an engine
#
# The build is sent to the shared folder, where agent.sh finds it; console.log, steps and lock of
# BUILD are links there until it has ended. What a machine that fails leaves undone another does,
# three of them at most. A job that runs already, as the poller was started again, is adopted.
#
# Reads     build.json, the settings engine and constraint, and what earlier steps have left
# Writes    what pipeline.sh does; .node, where the build ran; in builds/.nodes what failed where:
#           a machine that has failed three times in a row gets none for ten minutes
# FROM=STEP goes on from that step, on the machine where the build was. INT ends the build as
# `cancelled`; so does a file `cancelled`. TERM ends this script alone: the job runs on.
#
# Exit codes: those of pipeline.sh
set -euo pipefail
shopt -s inherit_errexit nullglob
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/lib/common.sh"
. "${self%/*}/lib/steps.sh"
. "${self%/*}/lib/carry.sh"

# become_the_only_one: one that an earlier poller has left goes; the job does not mind.
become_the_only_one() {
  local own

  exec {own}<>"$build/.launch"
  if ! flock -n "$own"; then
    kill -TERM "$(<"$build/.launch")" 2>/dev/null || true
    flock -w 10 "$own" || fail 69 "$build is being sent by process $(<"$build/.launch")"
  fi

  echo "$$" >"$build/.launch"
}

# start: the job, where the build was last, or the repository; without that wish after a while.
start() {
  local wish said

  wish=$(cat -- "${build%/*}/.node" 2>/dev/null) || true
  if [[ ${FROM-} ]]; then
    wish=$(cat -- "$build/.node" 2>/dev/null) || true
  fi

  if [[ $wished || " ${shunned[*]} " == *" $wish "* ]]; then
    wish=''
  fi

  wished=$wish
  waits_since=$SECONDS free_looks=0 told='' state=waiting
  : >"$sent/lock"
  rm -f -- "$sent/.message"
  if ! said=$(job_start "$wish" "FROM=${FROM-}" "ASIDE=${ASIDE-}"); then
    state=unknown
    if [[ $said != *"already exists"* && ! $interrupted ]]; then
      finish error 75 "the engine takes no job: ${said##*$'\n'}"
    fi
  fi
}

# shun NODE REASON: it gets this build no more, and after three failures in a row none.
shun() {
  local failures=${build%/*/*/*}/.nodes/$1

  if [[ $1 ]]; then
    shunned+=("$1")
    mkdir -p -- "${failures%/*}"
    TZ=UTC0 printf '%(%FT%TZ)T %s\n' -1 "$2" >>"$failures"
  fi

  failed="${1:-a machine}: $2"
  say "$failed"
}

# find_paused: those that have failed three times, within ten minutes.
find_paused() {
  local file

  shunned=()
  for file in "${build%/*/*/*}"/.nodes/*; do
    if [[ $(wc -l <"$file") -ge 3 && -n $(find "$file" -mmin -10) ]]; then
      shunned+=("${file##*/}")
      say "${file##*/} is paused, as it has failed three times (rm $file lets it go on)"
    fi
  done
}

# run_again: the job has come to nothing, as agent.sh has said, or the engine.
run_again() {
  local words

  job_end
  if has_ended; then
    return
  fi

  runs=$((runs + 1))
  words=$(cat -- "$sent/.message" 2>/dev/null) || true
  shun "$node" "${words:-${reason:-lost, or cut off from the shared folder}}"
  if [[ $runs -ge 3 ]]; then
    finish error 75 "it has failed three times, at last on $failed"
  fi

  start
}

# look: at the job, and does what is to be done about it.
look() {
  local held=''

  job_look
  if is_held; then
    held=held
  fi

  if has_ended || [[ $held || $state == unknown ]]; then
    free_looks=0
    return
  fi

  case $state in
    none) start ;;
    ended | running | starting | waiting)
      # Twice, as between lock and result there is a moment. (Where an agent was, it has gone with
      # its pod, maybe.)
      if [[ $state == ended || -s $sent/lock ]]; then
        free_looks=$((free_looks + 1))
      fi

      if [[ $free_looks -ge 2 ]] || node_is_lost; then
        run_again
      elif [[ $state == waiting ]]; then
        wait_for_node
      fi
      ;;
    *) ;;
  esac
}

# wait_for_node: for a while that of the wish, then any; and no longer than patience allows.
wait_for_node() {
  local waits=$((SECONDS - waits_since))

  if [[ $wished && ! ${FROM-} && ($waits -ge 5 || $reason == *"constraints not satisfied"*) ]]; then
    job_end
    start
  elif [[ $waits -ge $patience || ($failed && $waits -ge 5 && $reason != *insufficient*) ]]; then
    job_end
    finish error 75 "no machine takes the build: ${failed:-${reason:-none is free}}"
  elif [[ $reason && $reason != "$told" ]]; then
    told=$reason
    say "waits for a machine: $reason"
  fi
}

# cancel: an agent is told by a file; a job that waits just goes.
cancel() {
  : >"$sent/cancelled"
  if ! is_held && [[ $state != @(running|starting) ]]; then
    job_end
    if ! is_held && ! has_ended; then
      finish cancelled 130 "before it ran"
    fi
  fi
}

if [[ ${1-} == -h ]]; then
  manual
  exit 0
fi

if [[ $# -ne 1 || ! -f ${1-}/build.json ]]; then
  fail 2 "usage: launch.sh BUILD, a build directory (-h explains)"
fi

build=$(cd -P -- "$1" && pwd)
check_format "$build"
label=${build#"${build%/*/*/*}/"}
entry=${label%/*}
kind=$(setting engine/kind)
shared=$(setting engine/shared)
work=$(setting engine/work)
image=$(setting engine/image)
patience=$(setting engine/patience)
constraint=$(setting constraint)
constraint=${constraint:-$(setting engine/constraint)}
sent=$shared/$label

# Names of jobs are short: the ID, and what tells it from that of another repository.
job=docker-build-server-${build##*/}-$(cksum <<<"$entry" | cut -d ' ' -f 1)
job=${job//./-}
job=${job,,}
# shellcheck source=scripts/lib/swarm.sh
. "$scripts/lib/$kind.sh"

become_the_only_one
state=none node='' failed='' wished='' runs=0 shunned=()

# What has come back may have left its link behind; a rerun is sent anew then.
if [[ ! -L $build/lock || ! -e $build/lock || (-e $build/rerun && ! -e $sent/rerun) ]]; then
  send
  job_end # one of an earlier run, which could not be removed then
  exec {log}<"$sent/console.log"
  if [[ ${FROM-} ]]; then
    show >/dev/null # of earlier runs
  fi
  find_paused
else
  exec {log}<"$sent/console.log"
  show >/dev/null # an earlier poller has shown it
fi

waits_since=$SECONDS free_looks=0 told='' interrupted=''
trap 'exit 143' TERM
trap interrupted=1 INT
ticks=0
until has_ended; do
  if [[ ! -d $sent ]]; then
    fail 75 "$sent is gone (is the shared folder mounted?)"
  fi

  if [[ $interrupted || -e $build/cancelled || -e $sent/cancelled ]]; then
    cancel
  fi

  if [[ $((ticks++ % 16)) -eq 0 ]]; then
    look
  fi

  show || true # a signal reaches the whole group
  sleep 0.1 || true
done

take_back
