#!/usr/bin/env bats
# pipeline.sh: all steps in order, on a real engine and registry; and every way they can be broken off.

load ../support/helper

all_steps=(clone npm-install version build unit-test tag-push)

# One build that went all the way. Most tests go on from some step of a copy of it.
setup_file() {
  work=$BATS_FILE_TMPDIR repository=test/pipeline-$$
  sample app
  configure app '{"retries": {"clone": 0, "tag-push": 0}}'
  stage
  "$scripts/pipeline.sh" "$build" >"$work/stdout" 2>&1 || cat "$work/stdout"
  export prepared=$build
}

setup() { common_setup; }

teardown() {
  end_jobs
  mountpoint -q "$work/builds" && umount -l "$work/builds" || true
}

# on STEP: sets $build, to go on from that step: a copy of the prepared build at first. $number is like no other
# build's, $pid is that of its pipeline, $container the name of a container of it.
on() {
  export FROM=$1
  build=$work/builds/$repository-$1/${prepared##*/}
  [[ -d $build ]] || { copy "$prepared" "-$1" && echo "1$BASHPID$RANDOM" >"$build/number" && touch "$build/pid"; }
  number=$(<"$build/number") pid=$(<"$build/pid")
  container=docker-build-server.${build#*/builds/}
  container=${container//\//.}
}

# launch [VAR=VALUE...]: the pipeline on $build, in a session of its own, with signals as a terminal gives them.
launch() {
  [[ ! -x $build/python ]] || set -- "$@" "PYTHON=$build/python"
  setsid env --default-signal "$@" "$scripts/pipeline.sh" "$build" >"$build/stdout" 2>&1 3>&- &
  pid=$!
  echo "$pid" >"$build/pid"
}

# result FILTER: of result.json.
result() { jq -r "$1" "$build/result.json"; }

# ends CODE STATUS STEP [TEXT]: so does the pipeline when it is run now.
ends() {
  run "$scripts/pipeline.sh" "$build"
  ended "$@"
}

# ended CODE STATUS STEP [TEXT]: the exit code, the rest as result.json has it; TEXT is in the reason.
ended() {
  [[ "$status $(result '"\(.exit_code) \(.status) \(.failed_step) \(.message)"')" == "$1 $1 $2 $3 "*"${4-}"* \
    && $(tail -n 1 "$build/console.log") == "pipeline.sh: $2"* ]] || {
    printf '%s where %s was due, with "%s":\n%s\n' "$status" "$1 $2 $3" "${4-}" "$(cat "$build/result.json" "$build/console.log")"
    return 1
  }
}

# await CODE: the end of the launched pipeline.
await() {
  status=0
  wait "$pid" || status=$?
  [[ $status -eq $1 ]] || { echo "$status where $1 was due:" && cat "$build/console.log" && return 1; }
}

# nothing_left: of $pid's session and with $number no process, no container, and the lock is free.
nothing_left() {
  left=$(ps -o stat=,pid=,args= -s "$pid" | awk '!/^Z/')
  left+=$(pgrep -af "sleep $number")
  left+=$("$DOCKER" ps -aq --filter "name=$container")
  [[ ! $left ]] && flock -n "$build/lock" true
}

# hang STEP [COMMAND]: makes that step hang, once it has run the shell's COMMAND.
hang() {
  local script="${2-:}; touch $build/hangs; exec sleep $number"
  case $1 in
    clone) change '.settings.url = $url' --arg url "http://$stub/$number.git" ;;
    npm-install) jq --arg script "${script/$build/.}" '.scripts.preinstall = $script' "$prepared/src/package.json" >"$build/src/package.json" ;;
    version) printf '#!/bin/sh\n%s\n' "$script" >"$build/python" && chmod +x "$build/python" ;;
    build) printf 'RUN %s; sleep %s\n' "${2-:}" "$number" >>"$build/src/Dockerfile" ;;
    unit-test) change '.settings.test.command = ["sh", "-c", $script]' --arg script "${2-:}; echo hangs; sleep $number" ;;
    tag-push) change '.settings.registry = $stub | .settings.image = $image' --arg stub "$stub" --arg image "x$number" ;;
  esac
}
# hangs STEP: does it now?
hangs() {
  case $1 in
    clone | tag-push) grep -q "$number" "$work/stub.log" ;;
    build) pgrep -f "sleep $number" >/dev/null ;;
    unit-test) grep -qx hangs "$build/console.log" ;;
    npm-install) [[ -e $build/src/hangs ]] ;; # as it is in a cage
    *) [[ -e $build/hangs ]] ;;
  esac
}
# mend: nothing hangs any longer.
mend() {
  rm -f "$build/python" "$build/hangs" "$build/src/hangs"
  cp "$prepared"/src/{package.json,Dockerfile} "$build/src" || true
  cp "$prepared/build.json" "$build"
  change '.settings.image = $image' --arg image "$(cut -d/ -f1,2 <<<"${build#*/builds/}")"
}

# all_hang [COMMAND]: six pipelines, each hanging in another step.
all_hang() {
  stub hang hang
  for step in "${all_steps[@]}"; do
    on "$step"
    hang "$step" "${1-:}"
    launch
  done
  for step in "${all_steps[@]}"; do
    on "$step"
    until_true hangs "$step" || { cat "$build/console.log" && return 1; }
    [[ $(<"$build/lock") == "$HOSTNAME $pid "* ]]
  done
}

# all_succeed: and now they run through.
all_succeed() {
  for step in "${all_steps[@]}"; do
    on "$step"
    mend
    launch
  done
  for step in "${all_steps[@]}"; do
    on "$step"
    await 0
    ended 0 success null
    until_true nothing_left
  done
}

@test "pipeline.sh is called as a step is" {
  is_a_step pipeline
}

@test "the log holds what every tool printed, in order and to the last line, as the terminal does" {
  cmp "$BATS_FILE_TMPDIR/stdout" "$prepared/console.log"
  run awk -v words='== clone|clone.sh: |== npm-install|up to date|== version|version.sh: 0.3.0|== build|COPY . .|== unit-test|> node test.js|the test ran|== tag-push|0.3.0: digest: sha256:|latest is sha256:|pipeline.sh: success' \
    'BEGIN {n = split(words, word, "|"); i = 1} index($0, word[i]) {i++; last = NR} END {print i - 1 == n && last == NR ? "in order" : "no " word[i]}' "$prepared/console.log"
  [[ $output == "in order" ]]
}

@test "result.json says what happened, step by step" {
  build=$prepared
  [[ $(result 'keys_unsorted | join(" ")') == "format status failed_step exit_code message failing started_at finished_at steps tests version image pushed" ]]
  [[ $(result '[.format, .status, .failed_step, .exit_code, .message] | tostring') == '[1,"success",null,0,null]' ]]
  [[ $(result '.started_at <= .finished_at and (.finished_at | fromdate) <= now') == true ]]
  [[ $(result '[.steps[].name] | join(" ")') == "${all_steps[*]}" ]]
  [[ $(result '.steps | map(keys_unsorted == ["name", "status", "seconds", "attempts", "offset"] and .status == "success" and .seconds > 0 and .attempts == 1) | all') == true ]]
  [[ $(result .version) == "$(<"$build/version")" && $(result .image) == "$(<"$build/image")" && $(result '.pushed[]') == "$(<"$build/pushed")" ]]
  [[ ! -e $build/.reserve && ! -e $build/.src.tmp && $(in_registry "$(jq -r .settings.image "$build/build.json")") == "0.3 0.3.0 latest main sha-"* ]]
}

@test "a step that fails ends it: named, with its reason and exit code, and nothing in the registry" {
  on clone
  change '.settings.url = "http://127.0.0.1:1/x.git"'
  ends 75 error clone 'clone.sh: cannot fetch http://127.0.0.1:1/x.git (is it there'
  on npm-install
  echo '{"name": "app", "version": "0.3.0", "dependencies": {"left-pad": "1.3.0"}}' >"$build/src/package.json"
  ends 1 failure npm-install 'the lock file is out of step (mend it by npm install, and commit it)'
  on version
  change '.ref = "refs/tags/nonsense"'
  ends 1 failure version 'version.sh: '
  on build
  echo 'RUN echo so broken; false' >>"$build/src/Dockerfile"
  ends 1 failure build 'build.sh: Dockerfile does not build'
  [[ $output == *"so broken"* ]]
  on unit-test
  change '.settings.test.command = ["false"]'
  ends 1 failure unit-test 'unit-test.sh: false failed with exit code 1'
  on tag-push
  change '.settings.registry = "127.0.0.1:1"'
  ends 75 error tag-push 'tag-push.sh: cannot ask the registry for 127.0.0.1:1'
  for step in "${all_steps[@]}"; do
    on "$step"
    [[ $(result '.steps | length') -eq 1 && $(result '.pushed | length') -eq 0 && ! -e $build/pushed ]]
    [[ ! $(in_registry "$repository-$step") ]]
  done
  on build # once more, now with the engine down
  DOCKER_HOST=unix://$work/nothing ends 75 error build 'the Docker engine does not answer'
}

@test "without a Dockerfile it fails before npm is asked" {
  repository app package.json '{"scripts": {"preinstall": "echo npm was asked"}}'
  configure app
  stage
  ends 1 failure build 'build.sh: no Dockerfile in the repository (add one'
  [[ $output != *"npm was asked"* && $(result '[.steps[].name] | join(" ")') == "clone build" ]]
}

@test "the version is worked out beside npm-install, and told of in its turn" {
  on npm-install
  change '.settings.install.command = ["sh", "-c", "until test -e ../version; do sleep 0.02; done; echo npm is done"] | .settings.install.cage = "none" | .settings.timeouts["npm-install"] = 10'
  : >"$build/console.log"
  ends 0 success null
  run awk -v words='== npm-install|npm is done|== version|version.sh: 0.3.0|== build' \
    'BEGIN {n = split(words, word, "|"); i = 1} i <= n && index($0, word[i]) {i++} /^version.sh: .*published as/ {said++} END {print i - 1 == n && said == 1 ? "in order" : "no " word[i]}' "$build/console.log"
  [[ $output == "in order" && $(result '[.steps[].name] | join(" ")') == "npm-install version build unit-test tag-push" ]]
  on version
  FROM=npm-install
  change '.ref = "refs/tags/nonsense"'
  ends 1 failure version 'version.sh: tag "nonsense" is no SemVer'
  for delay in 0 0 0.02 0 0.5; do
    change '.settings.install.command = ["sleep", $delay, "and fail"]' --arg delay "$delay"
    ends 1 failure npm-install "npm-install.sh: sleep $delay and fail failed"
    flock -n "$build/lock" true
    [[ $(result .version) == null && ! -e $build/version ]]
  done
}

@test "a clock that is set back is no trouble" {
  on unit-test
  mkdir "$work/bin"
  echo 'unset EPOCHREALTIME' >"$work/env"
  printf '#!/bin/sh\nread -r now <"%s"; echo $((now - 100)) >"%s"; echo "$now.500000"\n' "$work/now" "$work/now" >"$work/bin/date"
  echo 1700000000 >"$work/now" && chmod +x "$work/bin/date"
  PATH=$work/bin:$PATH BASH_ENV=$work/env ends 0 success null
  [[ $(<"$work/now") -lt 1700000000 && $(result '[.steps[].seconds] | tostring') == "[0,0]" ]]
}

@test "FROM=STEP goes on from each step, with what the earlier ones left" {
  for step in "${all_steps[@]}"; do
    on "$step"
    touch "$build/src/from-earlier"
    [[ $step == npm-install ]] || echo gone >"$build/tested"
    rm "$build/result.json"
    launch
  done
  expected="${all_steps[*]}"
  for step in "${all_steps[@]}"; do
    on "$step"
    [[ $step != tag-push ]] || break # its `tested` is wrong: below
    await 0
    ended 0 success null
    [[ $(result '[.steps[].name] | join(" ")') == "$expected" ]]
    expected=${expected#* }
    [[ -e $build/src/from-earlier || $step == clone ]]
    [[ $(tail -n 1 "$build/tested") == passed ]]
    cmp -n "$(stat -c %s "$prepared/console.log")" "$prepared/console.log" "$build/console.log"
    [[ $(wc -l <"$build/pushed") -eq 5 ]]
  done
  await 1
  ended 1 failure tag-push 'is not the one that was tested'
}

@test "without FROM a build starts over" {
  copy "$prepared"
  touch "$build/src/from-earlier" "$build/cancelled"
  echo from earlier >>"$build/console.log"
  ends 0 success null
  [[ ! -e $build/src/from-earlier && ! -e $build/cancelled && $(result '.steps | length') -eq 6 ]]
  run ! grep -q 'from earlier' "$build/console.log"
}

@test "FROM something that is no step is a wrong call, and leaves all as it was" {
  copy "$prepared"
  FROM=deploy fails 2 'FROM=deploy is no step (one of clone, npm-install, ' "$scripts/pipeline.sh" "$build"
  diff -r --no-dereference -x lock -x .message -x build.json -x settings "$prepared" "$build"
}

@test "what fails for want of something of ours is tried again, ever later" {
  repository app README.md x # without a Dockerfile: it ends soon after
  configure app '{"retries": {"clone": 3}}'
  stage
  number=none pid=0
  mv "$work/app" "$work/away"
  launch
  until_true grep -q 'clone again in 2 s (attempt 2 of 4)' "$build/console.log"
  until_true grep -q 'clone again in 4 s (attempt 3 of 4)' "$build/console.log"
  mv "$work/away" "$work/app"
  await 1
  ended 1 failure build 'no Dockerfile'
  [[ $(result '.steps[0] | "\(.name) \(.status) \(.attempts) \(.seconds >= 6)"') == "clone success 3 true" ]]

  change '.settings.url = "/nowhere"'
  launch
  until_true grep -q 'fetch /nowhere' "$build/console.log"
  until_true grep -q 'clone again' "$build/console.log"
  kill -INT -- "-$pid"
  await 130
  ended 130 cancelled clone
}

@test "a push is tried again while the registry errs: 500, 429, a reset" {
  on tag-push
  stub 404 500,429,reset,201
  change '.settings.registry = $stub | .settings.retries["tag-push"] = 3' --arg stub "$stub"
  ends 0 success null
  [[ $(result .message) == null && ! -e $build/.message ]] # of the attempts that failed
  [[ $(result '.steps[0] | "\(.name) \(.attempts)"') == "tag-push 4" && $(result '.pushed | length') -eq $(wc -l <"$build/tags") ]]
  full=$(head -n 1 "$build/tags")
  [[ $(grep -c "^PUT .*/manifests/$full" "$work/stub.log") -eq 4 ]]
}

@test "each step has its time limit, whatever it does against it; nothing is left of it" {
  stub hang hang
  for step in "${all_steps[@]}"; do
    on "$step"
    hang "$step" 'trap "" TERM INT'
    change '.settings.timeouts[env.FROM] = 6'
    launch
  done
  for step in "${all_steps[@]}"; do
    on "$step"
    until_true hangs "$step"
  done
  for step in "${all_steps[@]}"; do
    on "$step"
    await 124
    ended 124 error "$step" "$step was ended at its time limit of 6 s (see \"timeouts\")"
    [[ $(result '.steps[0].seconds < 15') == true ]]
    until_true nothing_left
    [[ ! -e $build/pushed ]]
  done
}

@test "an engine that hangs does not hang the pipeline" {
  python3 -c 'import socket, sys, time; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); time.sleep(999)' "$work/socket" 3>&- &
  until_true test -S "$work/socket"
  on unit-test
  change '.settings.timeouts["unit-test"] = 1'
  launch "DOCKER_HOST=unix://$work/socket"
  await 124
  ended 124 error unit-test 'its time limit of 1 s'
  until_true nothing_left
}

@test "INT in each step: cancelled, nothing is left, and it can be run again" {
  all_hang 'trap "" TERM INT'
  for step in "${all_steps[@]}"; do
    on "$step"
    kill -INT -- "-$pid" # Ctrl-C
  done
  for step in "${all_steps[@]}"; do
    on "$step"
    await 130
    ended 130 cancelled "$step"
    until_true nothing_left
    [[ ! -e $build/pushed && $(tail -n 3 "$build/console.log") == *"ended by a signal at $step"* ]]
  done
  all_succeed
}

@test "TERM in each step: no result, nothing is left, and it can be run again" {
  all_hang 'trap "" TERM INT'
  for step in "${all_steps[@]}"; do
    on "$step"
    kill -TERM "$pid"
  done
  for step in "${all_steps[@]}"; do
    on "$step"
    await 143
    [[ ! -e $build/result.json && ! -e $build/pushed && $(tail -n 1 "$build/console.log") == *"ended by a signal at $step" ]]
    until_true nothing_left
  done
  all_succeed
}

@test "kill -9 in each step: it can be run again at once" {
  all_hang
  for step in "${all_steps[@]}"; do
    on "$step"
    kill -KILL -- "-$pid"
  done
  for step in "${all_steps[@]}"; do
    on "$step"
    await 137
    [[ ! -e $build/result.json ]]
  done
  all_succeed
}

@test "a TERM and the file cancelled: cancelled" {
  on unit-test
  hang unit-test
  launch
  until_true hangs unit-test
  touch "$build/cancelled"
  kill -TERM "$pid"
  await 130
  ended 130 cancelled unit-test
  until_true nothing_left
  [[ ! -e $build/cancelled ]]
}

@test "a build that another process works on is left alone" {
  copy "$prepared"
  sums() { find "$build" -type f -exec md5sum {} + | sort; }
  exec {lock}>>"$build/lock"
  flock "$lock"
  before=$(sums)
  fails 69 'is being worked on by process' "$scripts/pipeline.sh" "$build"
  exec {lock}>&-
  [[ $(sums) == "$before" ]]
}

@test "a stray process that keeps the output open holds nothing up" {
  on npm-install
  # What a host does that has no PID namespaces to give.
  mkdir "$work/bin"
  printf '#!/bin/sh\nexit 1\n' >"$work/bin/unshare" && chmod +x "$work/bin/unshare"
  change '.settings.install.cage = "none"'
  hang npm-install "sleep $number & setsid sleep $number & exit 1"
  SECONDS=0
  (set -o pipefail && PATH=$work/bin:$PATH "$scripts/pipeline.sh" "$build" 2>&1 | cat >"$build/stdout") 3>&- &
  pid=$!
  has_ended() { ! kill -0 "$pid" 2>/dev/null; }
  until_true has_ended
  await 1
  ended 1 failure npm-install
  cmp "$build/stdout" <(tail -c +"$(($(stat -c %s "$prepared/console.log") + 1))" "$build/console.log")
  # The one in a session of its own lives on, where no cgroup could be made, and nobody waits for it.
  [[ $SECONDS -lt 20 && $(pgrep -fc "^sleep $number") -le 1 ]]
  flock -n "$build/lock" true
  pgrep -f "^sleep $number" | xargs -r kill
  until_true nothing_left
}

@test "when nobody reads the output any more, the log still gets it all" {
  on unit-test
  env --default-signal "$scripts/pipeline.sh" "$build" 2>&1 | head -n 1 >"$work/out"
  status=${PIPESTATUS[0]}
  ended 0 success null
  grep -q 'the test ran' "$build/console.log"
}

@test "however slowly the output is read, the log has the last line when it ends" {
  on unit-test
  rm "$build/result.json"
  change '.settings.test.command = ["sh", "-c", "yes 0123456789abcde | head -c 100000"]' # more than a pipe takes
  {
    "$scripts/pipeline.sh" "$build" 2>&1
    tail -n 1 "$build/console.log" >"$work/last"
  } | {
    until_true test -e "$build/result.json"
    sleep 0.5
    cat >"$work/out"
  }
  [[ $(<"$work/last") == "pipeline.sh: success" ]]
}

@test "50 MB of test output are in the log to the last byte" {
  on unit-test
  : >"$build/console.log"
  change '.settings.test.command = ["sh", "-c", "yes 0123456789abcde | head -c 50000000"]'
  "$scripts/pipeline.sh" "$build" >/dev/null
  [[ $(grep -cx 0123456789abcde "$build/console.log") -eq 3125000 ]]
  [[ $(tail -n 1 "$build/console.log") == "pipeline.sh: success" ]]
}

@test "[skip ci] and its kin in a push: skipped, unless a person or a tag asked for it" {
  repository app README.md x # without a Dockerfile: what is not skipped fails
  configure app
  # is_pushed SOURCE REF MESSAGE: what becomes of it.
  is_pushed() {
    MESSAGE=$3 commit app
    SOURCE=$1 stage "$2" "$(git -C "$work/app" rev-parse HEAD)"
    run "$scripts/pipeline.sh" "$build"
    outcome="$status $(result '"\(.status) \(.failed_step) \(.steps | length)"')"
  }
  for message in '[skip ci] docs' 'docs [CI  skip]' $'docs\n\n[no ci]' '[skip actions]' '[actions skip]' '***NO_CI***' $'docs\n\nskip-checks: true'; do
    is_pushed event refs/heads/main "$message"
    [[ $outcome == "0 skipped null 1" ]]
  done
  is_pushed sweep refs/heads/main '[skip ci]'
  [[ $outcome == "0 skipped null 1" ]]
  for message in 'skip ci, no_ci' '[skip circus]' 'do not skip-checks: true'; do
    is_pushed event refs/heads/main "$message"
    [[ $outcome == "1 failure build 2" ]]
  done
  for source in manual trigger; do
    is_pushed "$source" refs/heads/main '[skip ci]'
    [[ $outcome == "1 failure build 2" ]]
  done
  is_pushed event refs/tags/v1 '[skip ci]'
  [[ $outcome == "1 failure build 2" ]]
  configure app '{"skip_ci": false}'
  is_pushed event refs/heads/main '[skip ci]'
  [[ $outcome == "1 failure build 2" ]]
}

@test "a push that touches nothing of paths is skipped before it is cloned, with the reason" {
  repository app README.md x # without a Dockerfile: what is not skipped fails
  configure app '{"paths": ["api/**"]}'
  SOURCE=event stage refs/heads/main "$(git -C "$work/app" rev-parse HEAD)"
  run -1 "$scripts/pipeline.sh" "$build"
  commit app web/x 1
  SOURCE=event stage refs/heads/main "$(git -C "$work/app" rev-parse HEAD)"
  run -0 "$scripts/pipeline.sh" "$build"
  [[ ! -e $build/src && $(result '.steps | length') -eq 0 ]]
  [[ $(result '"\(.status) \(.failed_step)"') == "skipped null" ]]
  before=$(git -C "$work/app" rev-parse HEAD~1)
  why="nothing in \"paths\" has changed since the last build of the branch, ${before:0:7}"
  [[ $(result .message) == "$why" && $output == *"pipeline.sh: $why"* ]]
  commit app api/x 1
  SOURCE=event stage refs/heads/main "$(git -C "$work/app" rev-parse HEAD)"
  run -1 "$scripts/pipeline.sh" "$build"
  [[ $(result .failed_step) == build ]]
}

@test "too little free disk is an error before anything is done" {
  copy "$prepared"
  change '.settings.disk_free_min = 1e15'
  ends 75 error clone 'MiB are free for'
  [[ $(result '.steps | length') -eq 0 && $(result .message) == *'less than "disk_free_min"'* ]]
}

@test "too little free disk for the engine is as much an error, with advice that helps" {
  [[ $EUID -eq 0 ]] || skip "mounting a small disk takes root"
  copy "$prepared"
  mkdir -p "$work/small" "$work/builds/.cache"
  mount -t tmpfs -o size=1m tmpfs "$work/small"
  echo "$work/small" >"$work/builds/.cache/engine"
  change '.settings.disk_free_min = 2097152'
  ends 75 error clone 'MiB are free for the engine, less than "disk_free_min" (lower "build_cache_max"'
  umount "$work/small"
  ends 0 success null
}

@test "a step that is killed is told as that" {
  copy "$prepared"
  mkdir "$work/bin"
  printf '#!/bin/sh\ncase $1 in push) kill -KILL $PPID ;; *) exec "%s" "$@" ;; esac\n' "$DOCKER" >"$work/bin/docker" && chmod +x "$work/bin/docker"
  change '.settings.image += ".other" | .settings.retries["tag-push"] = 0'
  FROM=tag-push DOCKER=$work/bin/docker ends 75 error tag-push 'tag-push was ended by KILL (out of memory? dmesg tells)'
}

@test "a disk that fills up is an error that names the step" {
  [[ $EUID -eq 0 ]] || skip "mounting a small disk takes root"
  mkdir -p "$work/builds" "$work/package"
  mount -t tmpfs -o size=4m tmpfs "$work/builds"

  repository noise
  head -c 5000000 /dev/urandom >"$work/noise/random"
  commit noise
  configure noise '{"retries": {"clone": 0}}'
  stage
  ends 75 error clone 'is the disk full?'

  # This packs well: less than the 32 KiB that gzip looks back, over and over.
  for _ in {1..1200}; do cat "$scripts/prune.sh"; done >"$work/package/text"
  echo '{"name": "big", "version": "1.0.0"}' >"$work/package/package.json"
  sample app
  tar -C "$work" -czf "$work/app/big.tgz" package
  commit app package.json '{"name": "app", "version": "0.3.0", "dependencies": {"big": "file:big.tgz"}}' \
    package-lock.json '{"name": "app", "version": "0.3.0", "lockfileVersion": 3, "requires": true, "packages": {"": {"name": "app", "version": "0.3.0", "dependencies": {"big": "file:big.tgz"}}, "node_modules/big": {"version": "1.0.0", "resolved": "file:big.tgz"}}}'
  configure app
  stage
  ends 75 error npm-install 'npm could not write to the disk, which is full'
}

@test "a token reaches the clone step alone, and stands in no file" {
  copy "$prepared"
  mkdir "$work/bin"
  echo s3cret >"$work/token"
  # Each tool notes the step in which it meets a token.
  for tool in git docker python3; do
    real=$(type -P "$tool")
    [[ $tool != docker ]] || real=$DOCKER
    printf '#!/bin/sh\n! env | grep -q "^GITHUB_TOKEN" || echo "%s $(grep == "%s" | tail -n 1)" >>"%s"\nexec "%s" "$@"\n' \
      "$tool" "$build/console.log" "$work/seen" "$real" >"$work/bin/$tool"
    chmod +x "$work/bin/$tool"
  done
  for token in GITHUB_TOKEN=s3cret "GITHUB_TOKEN_FILE=$work/token"; do
    run env "$token" PATH="$work/bin:$PATH" DOCKER="$work/bin/docker" PYTHON="$work/bin/python3" "$scripts/pipeline.sh" "$build"
    ended 0 success null
    grep -qx 'git pipeline.sh: == clone' "$work/seen"
    [[ $token == *FILE* ]] || run ! grep '== [^c]' "$work/seen" # its path is hidden by later steps
    run ! grep -rlF s3cret "$build"
    rm "$work/seen"
  done
}

@test "names and messages of strangers are nothing but text, in a folder with a space" {
  branch='a"b'\''$(touch${IFS}pwned)`id`&;|<>{}!#%s\é'
  branch=${branch//\\/}
  sample app
  MESSAGE=$'-n $(touch pwned) `touch pwned`\e[31m "quoted"\n\n--flag' commit app 'a $(touch pwned) file' "; touch pwned"
  git -C "$work/app" branch "$branch"
  configure app
  jq '.builds = "my builds"' "$work/config.json" >"$work/config" && mv "$work/config" "$work/config.json"
  stage "refs/heads/$branch"
  [[ $build == *"/my builds/"* ]]
  cd "$work"
  ends 0 success null
  [[ ! $(find "$work" -name pwned) && $(jq -r .ref "$build/build.json") == "refs/heads/$branch" ]]
}

@test "words without end, which a script may print as npm's, leave a result with the first of them" {
  script="echo npm ERR! code 128; head -c 300000 /dev/zero | tr '\\0' x | sed 's/^/npm ERR! fatal: /'; exit 1"
  sample app
  rm "$work/app/package-lock.json"
  commit app .npmrc loglevel=silent package.json "$(jq -n --arg script "$script" '{name: "app", version: "1.0.0", scripts: {preinstall: $script}}')"
  configure app
  stage
  run -1 "$scripts/pipeline.sh" "$build"
  [[ $(jq -r .message "$build/result.json") == "npm-install.sh: "*xxx && $(wc -c <"$build/result.json") -lt 10000 ]]
}

@test "of 300 tests the one that is red is what the build says" {
  sample app
  commit app test.js 'const test = require("node:test");
for (let n = 1; n <= 300; n++) test(`adds ${n}`, () => { if (n === 150) throw Error("no"); });'
  configure app
  stage
  run "$scripts/pipeline.sh" "$build"
  [[ $status -eq 1 && $(jq -r '.failing | map(.text) | join("|")' "$build/result.json") =~ ^(not\ ok\ 150\ -|✖)\ adds\ 150[^|]*$ ]]
  line=$(jq '.failing[0].line' "$build/result.json")
  [[ $(sed -n "${line}p" "$build/console.log") == *"adds 150"* ]]
}
