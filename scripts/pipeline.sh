#!/usr/bin/env bash
# pipeline.sh BUILD: all steps of a build, in order
#
#   clone > npm-install > version > build > unit-test > tag-push
#
# Reads     build.json, and the settings skip_ci, timeouts, retries and disk_free_min in it
# Writes    console.log   every byte the steps print, in order
#           result.json   what happened, step by step
# FROM=STEP goes on from that step, with what the earlier ones left; without it a build starts over.
# A step that fails for want of something of ours (75) is tried again as often as `retries` says.
# INT ends the build as `cancelled`. TERM ends it without a result: a poller's build goes on at the next start.
#
# Exit codes: those of the step that failed; 0 done (or skipped by [skip ci]), 2 called wrongly, 69 locked,
# 75 trouble of ours, 124 a time limit, 130 cancelled, 143 ended by TERM
set -euo pipefail
shopt -s inherit_errexit
. "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"
open_build "$@"

steps=(clone npm-install version build unit-test tag-push)
declare -A leaves=([clone]="src" [version]="version tags labels" [build]="image" [unit-test]="tested" [tag-push]="pushed")
declare -A limit=() retries=()
read_build '.source, .ref, (.settings | .skip_ci, .disk_free_min, .context, .dockerfile, (.timeouts, .retries | to_entries[] | .key, .value))' \
  source ref skip_ci disk_free_min context dockerfile
for ((i = 0; i < ${#rest[@]}; i += 2)); do
  if [[ ! ${limit[${rest[i]}]-} ]]; then limit[${rest[i]}]=${rest[i + 1]}; else retries[${rest[i]}]=${rest[i + 1]}; fi
done

while [[ ${FROM-} && ${steps[0]-$FROM} != "$FROM" ]]; do steps=("${steps[@]:1}"); done
[[ ${#steps[@]} -gt 0 ]] || fail 2 "FROM=$FROM is no step (one of clone, npm-install, version, build, unit-test, tag-push)"
rm -f -- "$build/result.json" "$build/cancelled" "$build/.message"
for step in "${steps[@]}"; do
  for file in ${leaves[$step]-}; do rm -rf -- "${build:?}/$file"; done
done
[[ ${FROM-} ]] || : >"$build/console.log"

exec {terminal}>&1
exec > >(trap '' INT TERM && exec {LOCK_FD}>&- && exec tee -ap -- "$build/console.log") 2>&1
tee=$! started_at=$(date -u +%FT%TZ) report=() child='' step=''
