#!/usr/bin/env bash
# pipeline.sh BUILD: all steps of a build, in order
#
#   clone > npm-install > version > build > unit-test > tag-push
#
# version.sh already runs beside npm-install.sh; its output is shown in its turn.
#
# Reads     build.json, and the settings skip_ci, timeouts, retries and disk_free_min in it
# Writes    console.log   every byte the steps print, in order
#           result.json   what happened, step by step
# FROM=STEP goes on from that step, with what the earlier ones left; without it a build starts over.
# A step that fails for want of something of ours (75) is tried again as often as `retries` says.
# INT ends the build as `cancelled`. TERM ends it without a result: a poller's build goes on at the next start.
#
# Exit codes: 0 done, or skipped by [skip ci]; else those of the step that failed; 2 called wrongly, 69 locked,
# 75 trouble of ours, 124 a time limit, 130 cancelled, 143 ended by TERM
set -euo pipefail
shopt -s inherit_errexit
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/lib/common.sh"
open_build "$@"

steps=(clone npm-install version build unit-test tag-push)
read_build source ref settings.{skip_ci,disk_free_min,context,dockerfile,timeouts,retries}
while [[ ${FROM-} && ${steps[0]-$FROM} != "$FROM" ]]; do steps=("${steps[@]:1}"); done
[[ ${#steps[@]} -gt 0 ]] || fail 2 "FROM=$FROM is no step (one of clone, npm-install, version, build, unit-test, tag-push)"
declare -A leaves=([clone]="src" [version]="version tags labels" [build]="image" ["unit-test"]="tested" ["tag-push"]="pushed")
declare -A ahead=() # process IDs of what runs before its turn
report='' step=${steps[0]}
TZ=UTC0 printf -v started_at '%(%FT%TZ)T' -1

[[ ${FROM-} ]] || : >"$build/console.log"
exec {terminal}>&1
exec > >(trap '' INT TERM && exec {LOCK_FD}>&- && exec tee -ap -- "$build/console.log") 2>&1
tee=$!
trap 'exec >&"$terminal" 2>&1 && drained "$tee"' EXIT

# strings TEXT: its lines as JSON strings, commas between them; or null. (What would end a string, our files have not.)
strings() {
  local lines
  mapfile -t lines <<<"${1//[\"\\]/}"
  printf -v lines ', "%s"' "${lines[@]}"
  [[ ! $1 ]] && echo null || echo "${lines#, }"
}

# content FILE: of the build, as JSON strings; or null.
content() { if [[ -f $build/$1 ]]; then strings "$(<"$build/$1")"; else echo null; fi; }

# end_jobs: what still runs. timeout hands a signal to the whole group of its step, and goes with its child: what is
# left there had its chance.
end_jobs() {
  local child
  for child in $(jobs -p); do
    kill -TERM "$child" && wait "$child" || true
    kill -KILL -- "-$child" || true
  done 2>/dev/null
}

# finish STATUS CODE: writes result.json and exits.
finish() {
  trap '' INT TERM
  end_jobs                                      # say, what runs ahead
  rm -rf -- "$build/.src.tmp" "$build/.reserve" # half a clone may be what fills the disk
  local failed='' message=null pushed result
  [[ $1 == success || $1 == skipped ]] || failed=$step
  [[ ! -f $build/.message ]] || message=$(jq -Rs 'rtrimstr("\n") | if . == "" then null else . end' -- "$build/.message") # it may hold anything
  pushed=$(content pushed)
  TZ=UTC0 printf -v result '{
  "format": 1,
  "status": "%s",
  "failed_step": %s,
  "exit_code": %d,
  "message": %s,
  "started_at": "%s",
  "finished_at": "%(%FT%TZ)T",
  "steps": [%s],
  "version": %s,
  "image": %s,
  "pushed": [%s]
}\n' "$1" "$(strings "$failed")" "$2" "$message" "$started_at" -1 "${report#,}" "$(content version)" "$(content image)" "${pushed#null}"
  leave result.json "$result"
  [[ ! -e $build/cancelled ]] || rm -f -- "$build/cancelled"
  echo "pipeline.sh: $1${failed:+ at $failed}"
  exit "$2"
}

# stop CODE: on a signal. A container is no part of any group.
stop() {
  trap '' INT TERM
  end_jobs
  remove_container
  echo "pipeline.sh: ended by a signal at $step"
  [[ $1 -eq 143 && ! -e $build/cancelled ]] || finish cancelled 130
  exit 143
}
trap 'stop 130' INT
trap 'stop 143' TERM

# await COMMAND...: in the background, since only while bash waits does a trap run at once. Sets $code. Should
# this script be killed, the command gets a TERM; and what it started does not outlive it.
await() {
  setpriv --pdeathsig TERM "$@" {terminal}>&- &
  code=0
  wait "$!" || code=$?
  kill -KILL -- "-$!" 2>/dev/null || true
}

# ahead STEP: starts it beside an earlier one, of which it needs nothing. What it says is shown in its turn; and should
# it fail, it runs once more then.
ahead() {
  AHEAD=1 setpriv --pdeathsig TERM timeout -k 10 "${timeouts[$1]}" "$scripts/$1.sh" "$build" >"$build/.ahead" 2>&1 {terminal}>&- &
  ahead[$1]=$!
}

# run STEP: under its time limit, again while that may help. Sets $code, notes the step for the report.
run() {
  local attempt kind=error began ended took seconds=${timeouts[$1]} more=${retries[$1]}
  now began
  for ((attempt = 1; ; attempt++)); do
    [[ ! -e $build/.message ]] || rm -f -- "$build/.message"
    if [[ ${ahead[$1]-} ]] && wait "${ahead[$1]}"; then
      code=0
      echo "$(<"$build/.ahead")"
    else
      await timeout -k 10 "$seconds" "$scripts/$1.sh" "$build"
    fi
    [[ $code -eq 75 && $attempt -le $more ]] || break
    echo "pipeline.sh: $1 again in $((2 ** attempt)) s (attempt $((attempt + 1)) of $((more + 1)))"
    await sleep "$((2 ** attempt))"
  done
  if [[ $code -eq 124 ]]; then
    remove_container
    (fail 124 "$1 was ended at its time limit of $seconds s (see \"timeouts\")") || true
  fi
  [[ $code -ne 0 ]] || kind=success
  [[ $code -ne 1 ]] || kind=failure
  now ended
  took=$((ended > began ? ended - began : 0)) # a clock may be set back
  printf -v report '%s,\n    {"name": "%s", "status": "%s", "seconds": %d.%06d, "attempts": %d}' "$report" "$1" "$kind" \
    "$((took / 1000000))" "$((took % 1000000))" "$attempt"
  [[ $code -eq 0 ]] || finish "$kind" "$code"
}

# skips_ci: does the head commit ask not to be built? Tags, and builds a person asked for, are built all the same.
skips_ci() {
  local text
  [[ $skip_ci == true && $ref == refs/heads/* && ($source == event || $source == sweep) ]] || return 1
  text=$(git -C "$build/src" log -1 --format=%B)
  grep -qiE '\[ *(skip +(ci|actions)|(ci|actions) +skip|no +ci) *\]|\*\*\*no_ci\*\*\*|^skip-checks: *true *$' <<<"$text"
}

echo "pipeline.sh: $build"
old=("$build/result.json")
for later in "${steps[@]}"; do
  for file in ${leaves[$later]-}; do old+=("$build/$file"); done
done
rm -rf -- "${old[@]}"
{ read -r && read -r free; } < <(df --output=avail -B1 -- "$build")
if [[ $free -lt $disk_free_min ]]; then
  (fail 75 "only $((free >> 20)) MiB are free for $build, less than \"disk_free_min\" (make room, or: scripts/prune.sh)") || true
  finish error 75
fi
remove_container                               # of a run that was killed
printf '%065536d' 0 >"$build/.reserve" || true # room for the result on a disk that fills up
for step in "${steps[@]}"; do
  [[ $step == clone ]] || unset GITHUB_TOKEN GITHUB_TOKEN_FILE # for git's network calls alone
  # A build that will find no Dockerfile fails before npm spends a minute, in the words of its own script.
  [[ $step != npm-install || -e $build/src/$dockerfile || -e $build/src/$context/$dockerfile ]] || step=build
  echo "pipeline.sh: == $step"
  [[ $step != npm-install ]] || ahead version # which is a function of what git knows
  run "$step"
  if [[ $step == clone ]] && skips_ci; then
    echo "pipeline.sh: the head commit says [skip ci]"
    finish skipped 0
  fi
done
finish success 0
