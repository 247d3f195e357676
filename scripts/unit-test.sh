#!/usr/bin/env bash
# unit-test.sh BUILD runs the repository's tests in the image that was built
#
# Reads     build.json, image; what version.sh has found of a test script in package.json
# Writes    tested   line 1 the image ID it vouches for; line 2 `passed`, or `skipped: WHY`; line 3
#                    the image ID that ran the tests, where `test.target` makes it another one.
#                    Absent when tests failed
#           reports/ what `test.reports` names, copied out of the container, also of red tests
#           modules/ the checkout and its modules, where `test.mount` is set
# Settings  test.command, test.target, test.network, test.memory, test.pids, test.shm_size,
#           test.required, test.env
#           test.target     build and test that stage instead; auto: the last named one before the
#                           image's own that has development dependencies, if there is one
#           test.mount      put the checkout over the image's WORKDIR, with modules that a container
#                           of the image installs, with network; of a part of a workspace all of
#                           that, and the tests run in the part
#           test.services   containers beside the tests, waited for until they are ready, on a
#                           network of the build's own; what they say is shown after the tests
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
. "${self%/*}/lib/package-manager.sh"
. "${self%/*}/lib/services.sh"

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
  tail -c "+$((begin + 1))" -- "$build/console.log" | head -c "$((end - begin))" | tail -n "$1" \
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

# advise_stage: prints how the runner comes to be there, by the stages of the Dockerfile.
advise_stage() {
  local names

  if [[ $mount == true ]]; then
    echo "the checkout's own modules lack it too: is it among its devDependencies?"
    return
  fi

  names=$(testable_stages | grep -vxF -e "$target" | tr '\n' ' ') || true
  names=${names% }
  if [[ $names ]]; then
    echo "set \"test.target\" to a stage that installs them: ${names// /, };" \
      "\"auto\" takes the last"
    return
  fi

  echo "no other stage installs them: set \"test.mount\": true, and the tests see the checkout" \
    "and modules installed for it"
}

# explain: fails, with who is to blame that the tests did not pass. Their own words only add advice.
explain() {
  local ended missing advice=''
  missing='Cannot find (module|package)|MODULE_NOT_FOUND|EAI_AGAIN|ENOTFOUND|ENETUNREACH'
  missing+='|ECONNREFUSED|No tests? (files? )?found|not found$|[Cc]ould not resolve'
  need_engine
  ended=$(end_of_container)
  if [[ $ended == *oom* ]]; then
    fail 1 "the tests were ended at the memory limit of $memory (see \"test.memory\")"
  fi

  if [[ $code == 12[67] ]]; then
    fail 1 "the image has no runnable \"${command[0]}\", or the test script's runner is not in it" \
      "(built without development dependencies? $(advise_stage))"
  fi

  if [[ " $ended " != *" die $code "* ]]; then
    fail 75 "the engine did not run the tests to their end (its reason is above)"
  fi

  if [[ $code -eq 254 && ${command[0]} == npm ]]; then
    advice=" (npm found no package.json in the image: set its WORKDIR to where that stands)"
  elif last_lines 200 | grep -E "$missing" >/dev/null; then
    advice="its files and development dependencies must be in the image)"
    if [[ $network == none ]]; then
      advice="it ran without network, see test.network, test.services; $advice"
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

# run_tests: in a subshell, as nothing else is to see the variables. It may outlive this script, so
# it holds no lock.
run_tests() (
  exec {LOCK_FD}>&-
  export_for_container test/env
  run_container "${options[@]}" --log-driver none --network "$network" \
    --memory "$memory" --memory-swap "$memory" --pids-limit "$pids" --shm-size "$shm_size" \
    "${variables[@]}" -- "$runner" "${command[@]}"
)

# mount_checkout: makes $build/modules of the checkout, and has a container of the image install its
# modules there: of a part of a workspace, at that one's root. Adds to $options that it stands over
# the image's WORKDIR. It is the server's user who installs and tests, as the files are his.
mount_checkout() {
  local workdir manager release pinned runs
  local -a command

  workdir=$(docker image inspect --format '{{.Config.WorkingDir}}' -- "$runner")
  if [[ ! $workdir || $workdir == / ]]; then
    fail 1 "\"test.mount\" is set, and the image has no WORKDIR to put the checkout over" \
      "(add one to $dockerfile)"
  fi

  find_root
  inside "$root"
  rm -rf -- "$build/modules"
  mkdir -- "$build/modules"
  tar -C "$build/src/$root" --exclude=./.git --exclude=node_modules -c . \
    | tar -C "$build/modules" -x
  options+=(--user "$(id -u):$(id -g)" --env HOME=/tmp --workdir "$workdir")
  options+=(--mount "$(bind "$build/modules" "$workdir")")

  cd "$build/modules"
  choose_manager
  runs=''
  list_setting command install/command
  if [[ ${#command[@]} -eq 0 ]]; then
    choose_command
  fi

  cd "$build"

  echo "unit-test.sh: ${runs:-${command[*]}} in $runner, for \"test.mount\""
  if ! watch install_modules; then
    need_engine
    fail 1 "the modules for \"test.mount\" cannot be installed in the image: $(last_words)"
  fi

  if [[ $root != "$context" ]]; then
    options+=(--workdir "$workdir/${context#"$root/"}") # docker takes the last one
  fi
}

# install_modules: in a subshell, as run_tests.
install_modules() (
  exec {LOCK_FD}>&-
  export_for_container install/env
  run_container --rm --log-driver none --memory "$memory" --memory-swap "$memory" \
    --pids-limit "$pids" "${options[@]}" --env NODE_ENV=development "${variables[@]}" \
    -- "$runner" "${command[@]}"
)

# take_auto_target: sets $target to the last stage that has development dependencies, if one has.
take_auto_target() {
  target=$(testable_stages | tail -n 1)
  if [[ ! $target ]]; then
    echo "unit-test.sh: no named stage before the image's own installs development dependencies:" \
      "the image itself is tested"
  fi
}

open_build "$@"
need src image
need_secrets
image=$(<"$build/image")
context=$(<"$build/settings/context")
target=$(setting test/target)
memory=$(<"$build/settings/test/memory")
pids=$(<"$build/settings/test/pids")
shm_size=$(<"$build/settings/test/shm_size")
network=$(<"$build/settings/test/network")
mount=$(<"$build/settings/test/mount")
list_setting reports test/reports
list_services
options=()
list_setting command test/command
remove_tree "$build/tested" "$build/reports"
find_dockerfile

if [[ ${command[*]} =~ ^npm\ (run\ )?test$ && -s $build/.no-test ]]; then
  skip "$(<"$build/.no-test")"
fi

runner=$image
if [[ $target == auto ]]; then
  take_auto_target
fi

if [[ $target ]]; then
  TARGET=$target "$scripts/build.sh" "$build"
  runner=$(<"$build/.test-image")
fi

ci_variables
remove_container # one may be left from a run that was killed
if [[ $mount == true ]]; then
  mount_checkout
fi

if [[ ${#services[@]} -gt 0 ]]; then
  start_services
  network=$container
fi

if [[ ${#reports[@]} -eq 0 ]]; then
  options+=(--rm) # else it stays until they are copied
fi

echo "unit-test.sh: ${command[*]} in $runner"
size_of_log begin
code=0
run_tests || code=$?
line="unit-test.sh: the tests ended with exit code $code"
echo "$line"
find_in_log "$line"
end=$log_size
network=$(<"$build/settings/test/network")
if [[ ${#reports[@]} -gt 0 ]]; then
  copy_reports
fi

show_services
if [[ $code -ne 0 ]]; then
  explain
fi

if [[ ${#services[@]} -eq 0 && ${#reports[@]} -eq 0 ]]; then
  rm -f -- "$build/.container" # --rm has done it
fi

if no_test_ran; then
  skip "no test ran"
fi

tested=$image$'\npassed\n'
if [[ $runner != "$image" ]]; then
  tested+=$runner$'\n'
fi

leave tested "$tested"
