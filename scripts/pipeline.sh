#!/usr/bin/env bash
# pipeline.sh BUILD runs all steps of a build, in order
#
#   clone > npm-install > version > build > unit-test > tag-push
#
# version.sh already runs beside npm-install.sh; its output is shown in its turn.
#
# Reads     build.json, and the settings skip_ci, paths, hints, timeouts, retries, log_max and
#           disk_free_min
# Writes    console.log   every byte the steps print, in order
#           steps         as it goes, TAB between: begin NAME TIME OFFSET; and end NAME TIME STATUS
#                         SECONDS ATTEMPTS OFFSET, OFFSET being one in console.log
#           result.json   what happened, step by step
# FROM=STEP goes on from that step, with what the earlier ones left; without it a build starts over.
# A step that fails for want of something of ours (75) is tried again as often as `retries` says.
# INT ends the build as `cancelled`. TERM ends it without a result: a poller's goes on at the next
# start.
#
# Exit codes: 0 done, or skipped by [skip ci] or `paths`; else those of the step that failed;
# 2 called wrongly, 69 locked, 75 trouble of ours, 124 a time limit, 130 cancelled, 143 ended by
# TERM
set -euo pipefail
shopt -s inherit_errexit
# shellcheck disable=SC2034 # for clone.sh
keep_token=1
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/lib/common.sh"
. "${self%/*}/lib/dockerfile.sh"
. "${self%/*}/lib/steps.sh"

# await COMMAND...: runs it in the background, since only while bash waits does a trap run at once.
# Sets $code. Should this script be killed the command gets a TERM; what it started does not outlive
# it.
await() {
  code=1
  if [[ $log_is_full ]]; then
    return
  fi

  code=0
  setpriv --pdeathsig TERM "$@" {terminal}>&- &
  awaited=$!
  wait "$awaited" || code=$?
  if [[ $log_is_full ]]; then
    wait "$awaited" || code=$? # the first one ended with the signal
  fi

  kill -KILL -- "-$awaited" 2>/dev/null || true
}

# watch_log: tells this script by USR1 that console.log has more than `log_max`. Twice a second, a
# process each, is soon enough: what a build prints in that time the disk has room for.
watch_log() {
  while sleep 0.5 && kill -0 "$$"; do
    if [[ $(stat -Lc %s -- "$build/console.log") -gt $log_max ]]; then
      kill -USR1 "$$"
      return
    fi
  done
}

# end_printing: ends the step that has printed too much.
end_printing() {
  log_is_full=yes
  kill -TERM "$awaited" 2>/dev/null || true
}

# start_ahead STEP: starts it beside an earlier one, of which it needs nothing. What it says is
# shown in its turn; and should it fail, it runs once more then.
start_ahead() {
  AHEAD=1 setpriv --pdeathsig TERM timeout -k 15 "$(<"$build/settings/timeouts/$1")" \
    "$scripts/$1.sh" "$build" >"$build/.ahead" 2>&1 {terminal}>&- &
  ahead[$1]=$!
}

# attempt SECONDS: runs $step once, under its time limit. Sets $code.
attempt() {
  local began=$SECONDS

  if [[ -e $build/.message ]]; then
    rm -f -- "$build/.message" "$build/.lasting"
  fi

  if [[ ${ahead[$step]-} ]] && wait "${ahead[$step]}"; then
    code=0
    echo "$(<"$build/.ahead")"
  else
    await timeout -k 15 "$1" "$scripts/$step.sh" "$build"
  fi

  unset "ahead[$step]"

  if [[ $log_is_full ]]; then
    code=1
    remove_container
    complain "$step was ended, as the build has printed more than $(<"$build/settings/log_max")" \
      "(see \"log_max\")"
    return
  fi

  # timeout ends with 124; no step of ours does. With 137 where a step outlived its TERM by more
  # than the ten seconds that an engine which hangs takes from it.
  if [[ $code -eq 124 || ($code -eq 137 && $((SECONDS - began)) -gt $1) ]]; then
    code=124
    remove_container
    complain "$step was ended at its time limit of $1 s (see \"timeouts\")"
  elif [[ $code -eq 137 ]]; then
    complain "$step was ended by KILL (out of memory? dmesg tells)"
    code=75
  elif [[ $code -ne 0 && ! -s $build/.message ]]; then
    complain "$step ended with exit code $code, and no word of why (see console.log)"
  fi
}

# run_step: runs $step, again while that may help, and notes how it went. Ends the build where it
# failed.
run_step() {
  local limit retries status=error

  limit=$(<"$build/settings/timeouts/$step")
  retries=$(<"$build/settings/retries/$step")
  note_begin
  if [[ $step == npm-install ]]; then
    start_ahead version # which is a function of what git knows
  fi

  attempt "$limit"
  while [[ $code -eq 75 && $attempts -le $retries && ! -e $build/.lasting ]]; do
    echo "pipeline.sh: $step again in $((2 ** attempts)) s" \
      "(attempt $((attempts + 1)) of $((retries + 1)))"
    await sleep "$((2 ** attempts))"
    attempts=$((attempts + 1))
    attempt "$limit"
  done

  case $code in
    0) status=success ;;
    1) status=failure ;;
    *) ;;
  esac

  if [[ $code -eq 0 && -e $build/.skipped ]]; then
    status=skipped
    rm -f -- "$build/.skipped"
  fi

  note_end "$status"
  if [[ $code -ne 0 ]]; then
    finish "$status" "$code"
  fi
}

# note_begin: $step runs now.
note_begin() {
  local line="pipeline.sh: == $step"
  attempts=1
  echo "$line"
  begin_offset=$((log_size + ${#line} + 1))
  now began
  TZ=UTC0 printf 'begin\t%s\t%(%FT%T)T.%sZ\t%d\n' \
    "$step" "${began:0:-6}" "${began: -6}" "$begin_offset" >>"$build/steps"
  running=$step
}

# note_end STATUS: $step has ended so.
note_end() {
  local ended took line

  running=''
  now ended
  took=$((ended > began ? ended - began : 0)) # a clock may be set back
  printf -v took '%d.%06d' "$((took / 1000000))" "$((took % 1000000))"
  line="pipeline.sh: $step: $1, ${took%????} s"
  echo "$line"
  find_in_log "$line"
  end_offset=$((log_size - ${#line} - 1))
  TZ=UTC0 printf 'end\t%s\t%(%FT%T)T.%sZ\t%s\t%s\t%d\t%d\n' "$step" "${ended:0:-6}" \
    "${ended: -6}" "$1" "$took" "$attempts" "$end_offset" >>"$build/steps"
}

# skip_or_go: ends the build as skipped, where lib/skips-ci.sh says so.
skip_or_go() {
  local commit code=0 why='the head commit says [skip ci]'

  commit=$(timeout "$(<"$build/settings/timeouts/clone")" \
    "$scripts/lib/skips-ci.sh" "$build") || code=$?
  if [[ $code -eq 3 ]]; then
    why="nothing in \"paths\" has changed since the last build of the branch, ${commit:0:7}"
  elif [[ $code -ne 0 ]]; then
    return
  fi

  echo "pipeline.sh: $why"
  printf '%s\n' "$why" >"$build/.message"
  finish skipped 0
}

# end_jobs: ends what still runs. timeout hands a signal to the whole group of its step, and goes
# with its child: what is left of the group then had its chance.
end_jobs() {
  local child
  for child in $(jobs -p); do
    if kill -TERM "$child"; then
      wait "$child" || true
    fi

    kill -KILL -- "-$child" || true
  done 2>/dev/null
}

# stop CODE: on a signal. A container is no part of any group.
stop() {
  trap '' INT TERM
  end_jobs
  remove_container
  echo "pipeline.sh: ended by a signal at $step"
  if [[ $1 -eq 143 && ! -e $build/cancelled ]]; then
    exit 143
  fi

  if [[ $running ]]; then
    note_end cancelled
  fi
  finish cancelled 130
}

# finish STATUS CODE: writes result.json and exits.
finish() {
  local failed='' failing='[]' result

  trap '' INT TERM
  end_jobs # a step may run ahead

  # Half a clone may be what fills the disk.
  rm -rf -- "$build/.src.tmp" "$build/.reserve"
  if [[ $1 != success && $1 != skipped ]]; then
    failed=$step
  fi

  if [[ $1 == failure || $1 == error ]]; then
    failing=$(LIMIT=5 wrapper builds.failing \
      "$build/console.log" "$step" "$begin_offset" "$end_offset") || failing='[]'
    if [[ -s $build/.if-red && -s $build/version ]]; then
      echo "pipeline.sh: $(<"$build/.if-red")"
    fi
  fi

  result=$(jq -n --arg status "$1" --argjson code "$2" --arg failed "$failed" \
    --argjson failing "$failing" --arg started_at "$started_at" --argjson skip "${#noted[@]}" \
    --arg message "$(text_of .message)" --arg steps "$(text_of steps)" \
    --arg tested "$(text_of tested)" --arg version "$(text_of version)" \
    --arg image "$(text_of image)" --arg pushed "$(text_of pushed)" "$result_json")
  if [[ ${ASIDE-} && $2 -eq 75 ]]; then
    leave .result.json "$result"$'\n' # the poller knows whether this was its host's trouble
  else
    leave result.json "$result"$'\n'
  fi

  if [[ -e $build/cancelled || -e $build/rerun ]]; then
    rm -f -- "$build"/{cancelled,rerun}
  fi

  echo "pipeline.sh: $1${failed:+ at $failed}"
  exit "$2"
}

# In `steps`, the line before an `end` is the `begin` of the same step.
# shellcheck disable=SC2016 # for jq to expand
result_json='
  def given: if . == "" then null else . end;
  def lines: split("\n") | map(select(. != ""));
  ($steps | lines | .[$skip:] | map(split("\t"))) as $noted |
  {format: 1, $status, failed_step: ($failed | given), exit_code: $code,
    message: (if $status == "success" then null else $message | given end), $failing,
    $started_at, finished_at: (now | todate),
    steps: [range($noted | length) | $noted[.] as $ended | select($ended[0] == "end")
      | {name: $ended[1], status: $ended[3], seconds: ($ended[4] | tonumber),
        attempts: ($ended[5] | tonumber), offset: ($noted[. - 1][3] | tonumber)}],
    tests: ($tested | lines[1:2] | first), version: ($version | given),
    image: ($image | given), pushed: ($pushed | lines)}'

take_build "$@"
every=${steps[*]}
while [[ ${FROM-} && ${steps[0]-$FROM} != "$FROM" ]]; do
  steps=("${steps[@]:1}")
done

if [[ ${#steps[@]} -eq 0 ]]; then
  fail 2 "FROM=$FROM is no step (one of ${every// /, })"
fi

disk_free_min=$(<"$build/settings/disk_free_min")

TZ=UTC0 printf -v started_at '%(%FT%TZ)T' -1
declare -A ahead=() # process IDs of what runs before its turn
log_max=$(<"$build/settings/log_max")
log_max=$(numfmt --from=auto -- "${log_max%B}")
awaited='' log_is_full=''
running='' attempts=1 begin_offset=0 end_offset=0
step=${steps[0]}
if [[ ! ${FROM-} ]]; then
  : >"$build/console.log"
  : >"$build/steps"
fi

: >>"$build/steps" # a build of version 0.1.0 has none
mapfile -t noted <"$build/steps"

size_of_log log_size
line="pipeline.sh: $build"
log_size=$((log_size + ${#line} + 1))
open_console
trap close_console EXIT
trap 'stop 130' INT
trap 'stop 143' TERM
trap end_printing USR1
echo "$line"

# What an earlier run has left goes, and a container of one that was killed.
old=("$build"/{.,}result.json "$build/.skipped")
for each in "${steps[@]}"; do
  for file in ${leaves[$each]}; do
    old+=("$build/$file")
  done
done

remove_tree "${old[@]}"
remove_container

# The engine keeps images and BuildKit's cache on its own disk, where that is another.
{ read -r && read -r free && read -r free_engine; } \
  < <(df --output=avail -B1 -- "$build" "$(engine_folder)")
if [[ $free -lt $disk_free_min ]]; then
  complain "only $((free >> 20)) MiB are free for $build, less than \"disk_free_min\"" \
    "(lower \"keep\", or: rm -r ${cache})"
  finish error 75
fi

if [[ $free_engine -lt $disk_free_min ]]; then
  complain "only $((free_engine >> 20)) MiB are free for the engine, less than \"disk_free_min\"" \
    "(lower \"build_cache_max\", or: docker builder prune; docker image prune)"
  finish error 75
fi

if [[ $missing_secret ]]; then
  complain "$missing_secret"
  finish error 75
fi

printf '%065536d' 0 >"$build/.reserve" || true # room for the result, on a disk that fills up

watch_log >/dev/null 2>&1 {LOCK_FD}>&- {terminal}>&- &
for step in "${steps[@]}"; do
  if [[ $step != clone ]]; then
    unset GITHUB_TOKEN # for git's network calls alone
  fi

  # A build without a Dockerfile fails before npm spends a minute, in the words of its own script.
  if [[ $step == npm-install ]]; then
    find_dockerfile
    if [[ ! $dockerfile ]]; then
      step=build
    fi
  fi

  if [[ $step == clone && -f $build/settings/paths ]]; then
    skip_or_go # before, as many a push is of no concern to this build
  fi

  run_step
  if [[ $step == clone ]]; then
    skip_or_go
  fi
done

if [[ $(<"$build/settings/hints") == true ]]; then
  "$scripts/lib/hints.sh" "$build" || true
fi

finish success 0
