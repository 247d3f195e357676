#!/usr/bin/env bash
# unit-test.sh BUILD runs the repository's tests in the image that was built
#
# Reads     build.json, image; what version.sh has found of a test script in package.json
# Writes    tested   line 1 the image ID it vouches for; line 2 `passed`, or `skipped: WHY`; line 3
#                    the image ID that ran the tests, where `test.target` makes it another one.
#                    Absent when tests failed
# Settings  test.command, test.target, test.network, test.memory, test.pids, test.required, test.env
# The command's first word replaces the image's entry point, which might be a server that never
# ends.
#
# Exit codes: 0 passed or skipped, 1 red, 2 called wrongly, 69 locked, 75 the engine did not run
# them
set -euo pipefail
shopt -s inherit_errexit
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/lib/common.sh"
. "${self%/*}/lib/dockerfile.sh"

# end_of_container: prints what the engine says of the container's last run, by its own clock. A
# client that cannot tell (podman) leaves us the exit code.
end_of_container() {
  local events present

  present=$(quick_docker info --format '{{.SystemTime}}' 2>/dev/null) || true
  events=$(quick_docker events --since 1 --until "$present" \
    --filter "container=$container" --filter=event={create,oom,die} \
    --format '{{.Action}} {{index .Actor.Attributes "exitCode"}}' 2>/dev/null) \
    || events="create die $((code == 125 ? 0 : code))"
  events=${events//$'\n'/ }
  echo "${events##*create }"
}

# last_lines COUNT: prints what the tests said last, without colours.
last_lines() {
  tail -c "+$((begin + 1))" -- "$build/console.log" | tail -n "$1" \
    | sed $'s/\033\\[[0-9;]*m//g; s/\\x00//g'
}

# no_test_ran: does the last summary of node's runner, mocha, jest, vitest or tap say there was
# none?
no_test_ran() {
  local line summary none last=''
  summary='^(# |ℹ )tests [0-9]+$|^ *[0-9]+ passing|^Tests:? +[0-9]|^1\.\.[0-9]+'
  summary+='|^No tests? (files? )?found, exiting with code 0'
  none='tests 0$|^ *0 passing|^1\.\.0|exiting with code 0'
  while IFS= read -r line; do
    if [[ $line =~ $summary ]]; then
      last=$line
    fi
  done < <(last_lines 40)
  [[ $last =~ $none ]]
}

# stages: prints the named stages of the Dockerfile but the one that was built, commas between them.
stages() {
  local names
  find_dockerfile
  names=$(sed -nE 's/^\s*FROM\s.*\sAS\s+(\S+).*/\1/Ip' "$build/src/$dockerfile" \
    | grep -vxF -e "${target:-$(setting target)}" | tr '\n' ' ') || true
  names=${names% }
  echo "${names// /, }"
}

# explain: fails, with who is to blame that the tests did not pass. Their own words only add advice.
explain() {
  local end missing names advice=''
  missing='Cannot find (module|package)|MODULE_NOT_FOUND|EAI_AGAIN|ENOTFOUND|ENETUNREACH'
  missing+='|No tests? (files? )?found|not found$|[Cc]ould not resolve'
  need_engine
  end=$(end_of_container)
  if [[ $end == *oom* ]]; then
    fail 1 "the tests were ended at the memory limit of $memory (see \"test.memory\")"
  fi

  if [[ $code == 12[67] ]]; then
    names=$(stages)
    advice="no other stage is named that \"test.target\" could be"
    if [[ $names ]]; then
      advice="set \"test.target\" to a stage that has them: $names"
    fi
    fail 1 "the image has no runnable \"${command[0]}\", or the test script's runner is not in it" \
      "(built without development dependencies? $advice)"
  fi

  if [[ " $end " != *" die $code "* ]]; then
    fail 75 "the engine did not run the tests to their end (its reason is above)"
  fi

  if [[ $code -eq 254 && ${command[0]} == npm ]]; then
    advice=" (npm found no package.json in the image: set its WORKDIR to where that stands)"
  elif last_lines 200 | grep -E "$missing" >/dev/null; then
    advice="its files and development dependencies must be in the image)"
    if [[ $(<"$build/settings/test/network") == none ]]; then
      advice="it ran without network, see test.network; $advice"
    fi
    advice=" ($advice"
  fi
  fail 1 "${command[*]} failed with exit code $code$advice"
}

# skip REASON: there is nothing to vouch for.
skip() {
  if [[ $(<"$build/settings/test/required") == true ]]; then
    fail 1 "$1, and \"test.required\" is set"
  fi

  echo "unit-test.sh: skipped: $1"
  leave tested "$image"$'\n'"skipped: $1"$'\n'
  exit 0
}

# run_tests: in a subshell, as nothing else is to see the variables.
run_tests() (
  export_for_container test/env
  run_container --rm --log-driver none --network "$(<"$build/settings/test/network")" \
    --memory "$memory" --memory-swap "$memory" --pids-limit "$(<"$build/settings/test/pids")" \
    "${variables[@]}" -- "$runner" "${command[@]}"
)

open_build "$@"
need src image
need_secrets
image=$(<"$build/image")
context=$(<"$build/settings/context")
target=$(setting test/target)
memory=$(<"$build/settings/test/memory")
list_setting command test/command
rm -f -- "$build/tested"

if [[ ${command[*]} =~ ^npm\ (run\ )?test$ && -s $build/.no-test ]]; then
  skip "$(<"$build/.no-test")"
fi

runner=$image
if [[ $target ]]; then
  TARGET=$target "$scripts/build.sh" "$build"
  runner=$(<"$build/.test-image")
fi

ci_variables
remove_container # one may be left from a run that was killed
echo "unit-test.sh: ${command[*]} in $runner"
size_of_log begin
code=0
run_tests || code=$?
line="unit-test.sh: the tests ended with exit code $code"
echo "$line"
find_in_log "$line"
if [[ $code -ne 0 ]]; then
  explain
fi

rm -f -- "$build/.container" # --rm has done it
if no_test_ran; then
  skip "no test ran"
fi

tested=$image$'\npassed\n'
if [[ $runner != "$image" ]]; then
  tested+=$runner$'\n'
fi

leave tested "$tested"
