#!/usr/bin/env bash
# unit-test.sh BUILD: the repository's tests, in the image that was built
#
# Reads     build.json, src/ (for package.json), image
# Writes    tested   line 1 the image ID it vouches for; line 2 `passed`, or `skipped: WHY`; line 3 the image ID
#                    that ran the tests, where `test.target` makes it another one. Absent when tests failed
# Settings  test.command, test.target, test.network, test.memory, test.pids, test.required
# The command's first word replaces the image's entry point, which might be a server that never ends.
#
# Exit codes: 0 passed or skipped, 1 red, 2 called wrongly, 69 locked, 75 the engine did not run them
set -euo pipefail
shopt -s inherit_errexit
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/lib/common.sh"
open_build "$@"
read_build id commit ref settings.{repository,context} settings.test.{target,network,memory,pids,required,command}
need src image
image=$(<"$build/image")
rm -f -- "$build/tested"

# why_not: the reason why there is nothing to run; npm init's placeholder is no test.
why_not() {
  local script=
  [[ ${command[*]} == "npm test" || ${command[*]} == "npm run test" ]] || return 0
  inside "$context" "$context/package.json"
  [[ ! -f $build/src/$context/package.json ]] \
    || script=$(jq -r '.scripts.test? // empty | strings' -- "$build/src/$context/package.json" 2>/dev/null) || true
  case $script in
    '') echo "no test script in package.json" ;;
    *'no test specified'*) echo "only npm's placeholder for a test script in package.json" ;;
    *) ;;
  esac
}
reason=$(why_not)
if [[ $reason ]]; then
  [[ $required == false ]] || fail 1 "$reason, and \"test.required\" is set"
  echo "unit-test.sh: skipped: $reason"
  leave tested "$image"$'\n'"skipped: $reason"$'\n'
  exit 0
fi

runner=$image
if [[ $target ]]; then
  TARGET=$target "$scripts/build.sh" "$build"
  runner=$(<"$build/image.$target")
fi

ci_variables "$id" "$repository" "$commit" "$ref"
trap remove_container EXIT
remove_container # of a run that was killed
echo "unit-test.sh: ${command[*]} in $runner"
code=0
run_container --rm --log-driver none --network "$network" --memory "$memory" --memory-swap "$memory" --pids-limit "$pids" \
  "${ci[@]/#/--env=}" --entrypoint "${command[0]}" -- "$runner" "${command[@]:1}" {LOCK_FD}>&- || code=$?
if [[ $code -eq 0 ]]; then
  rm -f -- "$build/.container" # --rm has done it
else
  engine_answers || fail 75 "the Docker engine does not answer (is it running? see: docker version)"
  # What became of the container, by the engine's clock. A client that cannot tell (podman) leaves us the exit code.
  end=$(timeout --foreground 10 "${DOCKER:-docker}" events --since 1 --until "$(docker info --format '{{.SystemTime}}' 2>/dev/null)" \
    --filter "container=$container" --filter=event={create,oom,die} --format '{{.Action}} {{index .Actor.Attributes "exitCode"}}' 2>/dev/null) \
    || end="start die $((code == 125 ? 0 : code))"
  end=" ${end##*create} " # the last run's
  [[ $end != *oom* ]] || fail 1 "the tests were ended at the memory limit of $memory (see \"test.memory\")"
  [[ $code != 12[67] ]] || fail 1 "the image has no runnable \"${command[0]}\", or the test script's runner is not in it (built without development dependencies? set \"test.target\" to a stage that has them)"
  [[ ${end//$'\n'/ } == *" die $code "* ]] || fail 75 "the engine did not run the tests to their end (its reason is above)"
  fail 1 "${command[*]} failed with exit code $code"
fi
[[ $runner == "$image" ]] && runner='' || runner+=$'\n'
leave tested "$image"$'\npassed\n'"$runner"
