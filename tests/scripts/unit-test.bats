#!/usr/bin/env bats
# unit-test.sh: the tests run in the image, and nothing of them stays behind.

load ../support/helper

# One image for all: each test copies the build, and says what to run.
setup_file() {
  work=$BATS_FILE_TMPDIR repository=test/unit-test-$$
  sample app
  configure app
  stage
  steps clone version build
  export prepared=$build
}

setup() {
  common_setup
  copy "$prepared"
  container=docker-build-server.${repository/\//.}.${build##*/}
}

teardown() {
  end_jobs
  "$DOCKER" rm -fv "$container" >/dev/null 2>&1 || true
  "$DOCKER" rmi -f "$repository-db" >/dev/null 2>&1 || true
}

unit_test() { run "$scripts/unit-test.sh" "$build"; }

# setting KEY JSON: of `test`.
setting() { change ".settings.test.$1 = (\$value | fromjson)" --arg value "$2"; }

# runs WORD...: makes that the test command.
runs() { change '.settings.test.command = $ARGS.positional' --args -- "$@"; }

# package TEXT: makes it the package.json of the commit (the image has its own), and looks at that.
package() {
  local src=$build/src
  rm -f "$src/package.json"
  printf '%s' "$1" >"$src/package.json"
  git -C "$src" "${git_identity[@]}" commit -qam package
  change '.commit = $commit' --arg commit "$(git -C "$src" rev-parse HEAD)"
  "$scripts/version.sh" "$build" >"$work/version.out"
}

# image_with LINE...: the build's image becomes one with these lines more in its Dockerfile.
image_with() {
  { echo "FROM $(<"$prepared/image")" && printf '%s\n' "$@"; } | "$DOCKER" build -q - >"$build/image"
}

# is_red TEXT: the run failed with this in its last line, and vouches for nothing.
is_red() {
  [[ $status -eq 1 && ${lines[-1]} == "unit-test.sh: "*"$1"* && ! -e $build/tested ]] || { echo "$status: $output" && return 1; }
  no_container
}

no_container() { [[ ! $("$DOCKER" ps -aq --filter "name=$container") ]]; }
container_runs() { [[ $("$DOCKER" ps -q --filter "name=$container") ]]; }

@test "unit-test.sh is a step" {
  is_a_step unit-test
}

@test "without an image it is called too early" {
  rm "$build/image"
  fails 2 "has no image (run the steps before this one first)" "$scripts/unit-test.sh" "$build"
}

@test "tests that pass vouch for the image, as often as they are run" {
  for _ in once again; do
    unit_test
    [[ $status -eq 0 && $output == *"the test ran"* ]]
    [[ $(<"$build/tested") == "$(<"$build/image")"$'\n'passed ]]
    no_container
  done
}

@test "a red test is exit code 1, and an earlier green one is forgotten" {
  unit_test
  [[ -e $build/tested ]]
  runs sh -c 'echo it broke; exit 3'
  unit_test
  [[ $output == *"it broke"* ]]
  is_red 'failed with exit code 3'
}

@test "no test script, npm's placeholder or no package.json: skipped, and why" {
  local package
  for package in '{}' '{"scripts": {"test": ""}}' '{"scripts": {"test": ["a"]}}'; do
    package "$package"
    unit_test
    [[ $status -eq 0 && $(<"$build/tested") == "$(<"$build/image")"$'\nskipped: no test script in package.json' ]]
  done
  package '{"scripts": {"test": "echo \"Error: no test specified\" && exit 1"}}'
  unit_test
  [[ $status -eq 0 && $(tail -n 1 "$build/tested") == "skipped: only npm's placeholder for a test script in package.json" ]]
  git -C "$build/src" rm -q package.json
  package '' # which is not committed
  unit_test
  [[ $status -eq 0 && $(tail -n 1 "$build/tested") == "skipped: no test script"* ]]
}

@test "a package.json that cannot be read is not one without a test script" {
  deep=$(printf '{"a":%.0s' {1..255})1$(printf '}%.0s' {1..255})
  for package in '{"description": "\ud83d", "scripts": {"test": "exit 1"}}' "{\"scripts\": {\"test\": \"exit 1\"}, \"deep\": $deep}" '[]' 'not JSON'; do
    package "$package"
    unit_test
    [[ $status -eq 0 && $(tail -n 1 "$build/tested") == passed ]] || { echo "$package: $output" && false; } # by the image's own
  done
  runs npm test
  package '{"description": "\ud83d", "scripts": {"test": "exit 1"}}'
  printf 'FROM %s\nCOPY package.json .\n' "$(<"$prepared/image")" | "$DOCKER" build -q -f - "$build/src" >"$build/image"
  unit_test
  is_red 'npm test failed with exit code 1'
}

@test "what an install does to package.json does not make tests go away" {
  package '{"scripts": {"test": "node test.js"}}'
  echo '{}' >"$build/src/package.json"
  unit_test
  [[ $status -eq 0 && $(tail -n 1 "$build/tested") == passed ]]
}

@test "a runner that says it found no test: skipped, and red where tests are required" {
  while IFS= read -r words; do
    runs sh -c "echo before; printf '%b\\n' '$words'"
    unit_test
    [[ $status -eq 0 && $(tail -n +2 "$build/tested") == "skipped: no test ran" ]] || { echo "$words: $output" && false; }
  done <<'END'
# tests 0\n# suites 0\n# pass 0\n# fail 0
\033[34mℹ tests 0\033[39m\nℹ pass 0
No tests found, exiting with code 0
No test files found, exiting with code 0
\n  0 passing (3ms)\n
END
  setting required true
  unit_test
  is_red 'no test ran, and "test.required" is set'
}

@test "a runner that found some, last, is green" {
  while IFS= read -r words; do
    runs sh -c "printf '%b\\n' '$words'"
    unit_test
    [[ $status -eq 0 && $(tail -n +2 "$build/tested") == passed ]] || { echo "$words: $output" && false; }
  done <<'END'
# tests 0\n# pass 0\n# tests 12\n# pass 12
ℹ tests 3
  0 passing\n  5 passing (1s)
all fine: 0 tests skipped
END
}

@test "where tests are required, having none is red" {
  setting required true
  package '{}'
  unit_test
  is_red 'no test script in package.json, and "test.required" is set'
}

@test "a package.json with a byte order mark has its test script" {
  package $'\xef\xbb\xbf{"scripts": {"test": "node test.js"}}'
  unit_test
  [[ $status -eq 0 && $(tail -n 1 "$build/tested") == passed ]]
}

@test "a package.json that leads out of the checkout is not read" {
  echo '{}' >"$work/package.json"
  ln -sf "$work/package.json" "$build/src/package.json"
  git -C "$build/src" "${git_identity[@]}" commit -qam link
  change '.commit = $commit' --arg commit "$(git -C "$build/src" rev-parse HEAD)"
  "$scripts/version.sh" "$build"
  unit_test
  [[ $status -eq 0 && $(tail -n 1 "$build/tested") == "skipped: no test script in package.json" ]]
}

@test "an image whose entry point is a server that never ends is tested all the same" {
  image_with 'ENTRYPOINT ["sleep", "100000"]'
  unit_test
  [[ $status -eq 0 && $output == *"the test ran"* ]]
}

@test "test.command stands in for npm test" {
  runs sh -c 'echo "$1|$2"' sh '$(id) "quoted"' 'two  spaces'
  package '{}'
  unit_test
  [[ $status -eq 0 && $output == *'$(id) "quoted"|two  spaces'* && $(tail -n 1 "$build/tested") == passed ]]
}

@test "test.target: that stage is built and tested, the image is vouched for" {
  printf 'FROM %s AS checks\nRUN echo for tests >/only-here\nFROM %s\n' "$BASE_IMAGE" "$BASE_IMAGE" >"$build/src/Dockerfile"
  setting target '"checks"'
  runs cat /only-here
  unit_test
  [[ $status -eq 0 && $output == *"for tests"* ]]
  [[ $(<"$build/tested") == "$(<"$build/image")"$'\npassed\n'"$(<"$build/.test-image")" ]]
  [[ $(<"$build/image") == "$(<"$prepared/image")" && $(<"$build/.test-image") != "$(<"$build/image")" ]]
}

@test "a test.target that does not build is red" {
  setting target '"nowhere"'
  run "$scripts/unit-test.sh" "$build"
  [[ $status -eq 1 && ${lines[-1]} == "build.sh: Dockerfile does not build"* && ! -e $build/tested ]]
}

@test "a test runner that is not in the image: the message names test.target" {
  runs jest --ci
  unit_test
  is_red 'the image has no runnable "jest", or the test script'
  runs sh -c 'jest --ci' # as npm does it
  unit_test
  is_red 'no other stage installs them: set "test.mount": true, and the tests see the checkout'
}

@test "a runner that is not in the image: the message names the stages that have it" {
  printf 'FROM x AS deps\nRUN npm ci\nFROM deps as Builder\nFROM x AS final\nRUN npm ci --omit=dev\nFROM x AS other\nRUN yarn\n' >"$build/src/Dockerfile"
  change '.settings.target = "final"'
  runs no-such-runner
  unit_test
  is_red 'set "test.target" to a stage that installs them: deps, Builder; "auto" takes the last)'
}

@test "a red test for want of a module, a name or the network has that advice; any other has not" {
  for words in "Cannot find module 'x'" 'getaddrinfo EAI_AGAIN registry.example' 'Error [ERR_MODULE_NOT_FOUND]: no x' 'sh: jest: not found'; do
    runs sh -c "echo \"$words\"; exit 1"
    unit_test
    is_red 'failed with exit code 1 (it ran without network, see test.network, test.services; its files and development dependencies must be in the image)'
  done
  setting network '"bridge"'
  unit_test
  is_red 'failed with exit code 1 (its files and development dependencies must be in the image)'
  runs sh -c 'echo "1 != 2"; exit 1'
  unit_test
  [[ ${lines[-1]} == *"failed with exit code 1" ]]
}

@test "npm without a package.json in the image is told to look at WORKDIR" {
  image_with 'WORKDIR /empty'
  unit_test
  is_red '(npm found no package.json in the image: set its WORKDIR to where that stands)'
}

@test "exit codes that mean something elsewhere are a red test's own" {
  for code in 69 75 124 125 143; do
    runs sh -c "exit $code"
    unit_test
    is_red "failed with exit code $code"
  done
}

@test "tests that reach the memory limit are ended, and told so" {
  setting memory '"64m"'
  runs node -e 'const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1))'
  unit_test
  is_red 'ended at the memory limit of 64m (see "test.memory")'
}

@test "a health check with oom in its words is no want of memory" {
  image_with 'HEALTHCHECK --interval=1s CMD ["sh", "-c", "echo the rooms"]'
  runs sh -c 'sleep 3; exit 1'
  unit_test
  is_red 'failed with exit code 1'
}

@test "what the tests print and take is limited where they run" {
  runs sleep 60
  "$scripts/unit-test.sh" "$build" >"$work/out" 2>&1 3>&- &
  until_true container_runs
  run "$DOCKER" inspect -f '{{.HostConfig.LogConfig.Type}} {{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}' "$container"
  [[ $output == "none 2147483648 2147483648" ]]
  "$DOCKER" kill "$container" >"$work/killed"
}

@test "the process limit holds" {
  setting pids 15
  runs sh -c 'for i in $(seq 40); do sleep 1000 & done; echo all of "" them'
  unit_test
  [[ $output != *"all of  them"* ]]
  is_red 'failed with exit code'
}

@test "there is no network, unless test.network names one" {
  address=$("$DOCKER" run --rm "$BASE_IMAGE" ip route | awk '/^default/ {print $3}')
  python3 -u -m http.server --bind "$address" 0 >"$work/server" 2>&1 3>&- &
  until_true grep -q 'port' "$work/server"
  port=$(grep -oP 'port \K[0-9]+' "$work/server")
  runs node -e "require('net').connect($port, '$address').on('connect', process.exit)"
  unit_test
  is_red 'failed with exit code'
  setting network '"bridge"'
  unit_test
  [[ $status -eq 0 ]]
}

@test "the tests know their build, and nothing of the host's environment" {
  change '.ref = "refs/heads/a\"b$(id)"'
  runs sh -c 'env | sort'
  SECRET_OF_HOST=1 npm_config_x=1 GITHUB_TOKEN=1 unit_test
  [[ $status -eq 0 ]]
  id=${prepared##*/}
  [[ $(grep -E '^CI' <<<"$output") == "CI=true
CI_COMMIT_BRANCH=a\"b\$(id)
CI_COMMIT_REF=refs/heads/a\"b\$(id)
CI_COMMIT_SHA=$(jq -r .commit "$build/build.json")
CI_PIPELINE_NUMBER=$id
CI_REPO=$(jq -r .settings.repository "$build/build.json")" ]]
  [[ $(grep -oE '^[A-Za-z_]+=' <<<"$output" | grep -v ^CI | tr -d '\n') == HOME=HOSTNAME=NODE_EXTRA_CA_CERTS=PATH=PWD=SHLVL=SSL_CERT_FILE=npm_config_update_notifier= ]]
}

@test "what a test script says is run in the container alone" {
  script="echo \"\$(touch $work/out)\" '\`touch $work/out\`'; touch $work/out; exit 7"
  package "$(jq -n --arg script "$script" '{scripts: {test: $script}}')"
  image_with 'WORKDIR /app' "RUN echo '$(base64 -w 0 "$build/src/package.json")' | base64 -d >package.json"
  unit_test
  is_red 'npm test failed with exit code'
  [[ ! -e $work/out ]]
  package "$(jq -n --arg script $'-e\n$(touch '"$work/out)" '{scripts: {test: $script}}')"
  image_with 'WORKDIR /app'
  unit_test
  [[ $status -eq 0 && ! -e $work/out ]]
}

@test "an engine that is down, or hangs, is not the tests' fault" {
  DOCKER_HOST=unix://$work/nothing unit_test
  [[ $status -eq 75 && ${lines[-1]} == *"the Docker engine does not answer"* && ! -e $build/tested ]]
  runs sh -c 'kill -9 1'
  printf '#!/bin/sh\n[ "$1" != run ] || { "%s" "$@"; exit 1; }\nexec "%s" "$@"\n' "$DOCKER" "$DOCKER" >"$work/docker"
  chmod +x "$work/docker"
  runs sh -c 'exit 0'
  DOCKER=$work/docker unit_test # the client lost sight of it
  [[ $status -eq 75 && ${lines[-1]} == *"the engine did not run the tests to their end"* && ! -e $build/tested ]]
  no_container
}

@test "an image that is gone is ours to mend" {
  echo "sha256:$(printf '%064d' 1)" >"$build/image"
  unit_test
  [[ $status -eq 75 && ! -e $build/tested ]]
}

@test "a TERM ends the tests, though they ignore it, and their container" {
  runs sh -c 'trap "" TERM INT; while :; do sleep 1; done'
  "$scripts/unit-test.sh" "$build" >"$work/out" 2>&1 3>&- &
  until_true container_runs
  kill -TERM "$!"
  wait "$!" || status=$?
  [[ $status -eq 143 && ! -e $build/tested ]]
  until_true no_container
}

@test "after a kill -9 the next run finds no container in its way" {
  runs sleep 100000
  "$scripts/unit-test.sh" "$build" >"$work/out" 2>&1 3>&- &
  until_true container_runs
  first=$("$DOCKER" ps -q --filter "name=$container")
  kill -KILL "$!" && wait "$!" || true
  runs echo fine
  unit_test
  [[ $status -eq 0 && $output == *fine* ]]
  no_container
  [[ ! $("$DOCKER" ps -aq --filter "id=$first") ]]
}

@test "volumes that the image declares do not stay behind" {
  image_with 'VOLUME /data'
  runs sh -c 'echo x >/data/x; cat /etc/hostname'
  before=$("$DOCKER" volume ls -q | sort)
  unit_test
  [[ $status -eq 0 ]]
  [[ $("$DOCKER" volume ls -q | sort) == "$before" ]]
}

@test "20 MB of output arrive" {
  runs sh -c 'yes 0123456789abcde | head -c 20000000'
  "$scripts/unit-test.sh" "$build" | sed '1d;$d' | wc -c >"$work/bytes"
  [[ $(<"$work/bytes") -eq 20000000 && -e $build/tested ]]
}

@test "test.target auto: the last named stage with development dependencies is tested, else the image" {
  cat >"$build/src/Dockerfile" <<END
FROM $BASE_IMAGE AS deps
WORKDIR /app
RUN mkdir node_modules; npm ci --help >/dev/null && true
COPY . .
# No install is here, \\
RUN npm \\
  # but in this one
  ci
FROM deps AS build
RUN touch /is-build
FROM $BASE_IMAGE AS production
ENV NODE_ENV=production
WORKDIR /app
COPY package*.json .
RUN npm ci
FROM production
COPY --from=build /app/test.js .
END
  steps build
  setting target '"auto"'
  runs test -e /is-build
  unit_test
  [[ $status -eq 0 ]] || { echo "$output" && false; }
  [[ $(<"$build/tested") == "$(<"$build/image")"$'\npassed\n'"$(<"$build/.test-image")" ]]
  sed -i '1,/^FROM deps/d' "$build/src/Dockerfile"
  sed -i '1,/^FROM/{s/ AS .*//;/RUN touch/d}; /--from/d; s/^FROM production/FROM '"${BASE_IMAGE//\//\\/}"'/' "$build/src/Dockerfile"
  steps build
  runs test ! -e /is-build
  unit_test
  [[ $status -eq 0 && $output == *"the image itself is tested"* ]] || { echo "$output" && false; }
}

@test "test.mount: the tests see the checkout, and modules that the image's own node has installed" {
  local src=$build/src
  mkdir -p "$src/runner"
  echo '{"name": "runner", "version": "1.0.0", "bin": "run.js"}' >"$src/runner/package.json"
  printf '#!/usr/bin/env node\nconsole.log("ran in", process.cwd(), require("./package.json").name)\n' >"$src/runner/run.js"
  chmod +x "$src/runner/run.js"
  echo '{"name": "app", "scripts": {"test": "runner"}, "devDependencies": {"runner": "file:runner"}}' >"$src/package.json"
  rm "$src/package-lock.json"
  printf 'FROM %s\nENV NODE_ENV=production\nWORKDIR /srv/app\nCOPY package.json .\n' "$BASE_IMAGE" >"$src/Dockerfile"
  steps build
  unit_test
  is_red 'set "test.mount": true'
  setting mount true
  unit_test
  [[ $status -eq 0 && $output == *"ran in /srv/app runner"* ]] || { echo "$output" && false; }
  [[ -d $build/modules/node_modules && ! -e $src/node_modules && ! -e $build/modules/.git ]]
  no_container
  unit_test # once more
  [[ $status -eq 0 ]]
  sed -i /WORKDIR/d "$src/Dockerfile"
  steps build
  unit_test
  is_red 'the image has no WORKDIR'
}

@test "test.mount of a part of a workspace: the checkout from the workspace's root, the tests in the part" {
  local src=$build/src
  mkdir -p "$src/parts/api" "$src/parts/tool"
  echo '{"name": "all", "private": true, "workspaces": ["parts/*"]}' >"$src/package.json"
  echo '{"name": "tool", "version": "1.0.0", "bin": "run.js"}' >"$src/parts/tool/package.json"
  printf '#!/usr/bin/env node\nconsole.log("ran in", process.cwd())\nrequire("fs").writeFileSync("report", "x")\n' >"$src/parts/tool/run.js"
  chmod +x "$src/parts/tool/run.js"
  echo '{"name": "api", "version": "1.0.0", "scripts": {"test": "tool"}, "devDependencies": {"tool": "1.0.0"}}' >"$src/parts/api/package.json"
  (cd "$src" && rm package-lock.json && npm install --silent --package-lock-only)
  printf 'FROM %s\nWORKDIR /srv/app\nCOPY package.json .\n' "$BASE_IMAGE" >"$src/parts/api/Dockerfile"
  change '.settings.context = "parts/api"'
  setting mount true
  setting reports '["report"]'
  steps build
  unit_test
  [[ $status -eq 0 && $output == *"ran in /srv/app/parts/api"* ]] || { echo "$output" && false; }
  [[ -L $build/modules/node_modules/tool && $(<"$build/reports/report") == x ]]
}

@test "test.shm_size" {
  setting shm_size '"96m"'
  runs sh -c 'df -m /dev/shm | grep -q " 96 "'
  unit_test
  [[ $status -eq 0 ]] || { echo "$output" && false; }
}

@test "test.reports: what they name is copied, of red tests too, and nothing else" {
  setting reports '["coverage", "/tmp/junit.xml", "none/at-all", "link"]'
  runs sh -c 'mkdir -p coverage/a; echo 97 >coverage/a/total; echo x >/tmp/junit.xml; ln -s /etc/shadow coverage/shadow; ln -s /etc/passwd link; mkfifo coverage/pipe; chmod 0 coverage/a; exit 3'
  unit_test
  is_red 'failed with exit code 3'
  [[ $(<"$build/reports/coverage/a/total") == 97 && $(<"$build/reports/tmp/junit.xml") == x ]]
  [[ $(cd "$build/reports" && find . ! -type d | sort | tr '\n' ' ') == "./coverage/a/total ./tmp/junit.xml " ]]
  [[ $output == *'no /app/none/at-all for "test.reports" in the container'* ]]
  runs true
  unit_test
  [[ $status -eq 0 && ! -e $build/reports/coverage ]]
  no_container
}

# service LINE...: makes an image of $BASE_IMAGE with these lines, as test.services.db.
service() {
  { echo "FROM $BASE_IMAGE" && printf '%s\n' "$@"; } | "$DOCKER" build -q -t "$repository-db" - >/dev/null
  setting services "{\"db\": {\"image\": \"$repository-db\"}}"
}

nothing_is_left() {
  no_container && [[ ! $("$DOCKER" network ls -q --filter "name=$container") ]]
}

server='require("net").createServer(s => s.end(process.env.GREETING)).listen(5432, () => {
  console.log("it listens"); setTimeout(() => require("fs").writeFileSync("/ready", ""), 700) })'

@test "test.services: reached by name when they are ready, on a network that leads nowhere else" {
  service "CMD $(jq -nc --arg js "$server" '["node", "-e", $js]')"
  setting services.db.env '{"GREETING": "hello from db"}'
  setting services.db.ready '["test", "-e", "/ready"]'
  node -e 'require("net").createServer(s => s.end()).listen(0, function () { console.log(this.address().port) })' \
    >"$work/port" 3>&- &
  until_true test -s "$work/port"
  cat >"$build/test.js" <<END
const net = require("net")
const own = require("os").networkInterfaces().eth0[0].address.replace(/\\d+$/, "1")
net.connect(5432, "db").on("data", data => console.log("db says", String(data)))
for (const host of ["$("$DOCKER" network inspect -f '{{(index .IPAM.Config 0).Gateway}}' bridge)", own]) {
  const way = net.connect($(<"$work/port"), host)
  way.setTimeout(2000, () => way.destroy())
  way.on("connect", () => console.log("this host is reached at", host)).on("error", () => {})
}
END
  runs node -e "$(<"$build/test.js")"
  unit_test
  [[ $status -eq 0 && $output == *"db says hello from db"*$'\ndb | it listens'* ]] || { echo "$output" && false; }
  [[ ! $output =~ "is reached at "[0-9] ]] || { echo "$output" && false; }
  nothing_is_left

  setting network '"bridge"'
  unit_test
  [[ $output =~ "is reached at "[0-9] ]] || { echo "$output" && false; }
  nothing_is_left

  runs sh -c 'exit 5' # red tests leave no more
  unit_test
  is_red 'failed with exit code 5'
  nothing_is_left
}

@test "test.services: by the image's own health check" {
  service 'HEALTHCHECK --interval=1s CMD test -e /ready' 'CMD ["sh", "-c", "sleep 1.5; touch /ready; sleep 60"]'
  runs true
  unit_test
  [[ $status -eq 0 ]] || { echo "$output" && false; }
  nothing_is_left
}

@test "test.services: one that ends, is never ready or cannot be had is told, and nothing is left" {
  service 'CMD ["sh", "-c", "echo no data folder; exit 4"]'
  setting services.db.ready '["false"]'
  unit_test
  is_red 'service db ended with exit code 4 before the tests'
  [[ $output == *"db | no data folder"* ]]
  nothing_is_left

  service 'CMD ["sleep", "60"]'
  setting services.db.ready '["sh", "-c", "echo not yet; exit 1"]'
  READY_WITHIN=1 unit_test
  is_red 'service db was not ready within 1 s: sh -c echo not yet; exit 1 says: not yet'
  nothing_is_left

  setting services '{"db": {"image": "'"$REGISTRY/$repository-nowhere"'"}}'
  unit_test
  is_red "service db: there is no image $REGISTRY/$repository-nowhere to be had: "
  nothing_is_left
}

@test "test.services: after kill -9 of the step the next run, or prune.sh, removes all" {
  service 'CMD ["sleep", "600"]'
  runs sleep 600
  for way in again prune; do
    setsid "$scripts/unit-test.sh" "$build" >/dev/null 2>&1 3>&- &
    until_true container_runs
    until_true test "$("$DOCKER" ps -q --filter "name=$container" | wc -l)" -eq 2 || true
    "$scripts/prune.sh" "$work/builds" # which leaves what somebody works on
    container_runs
    kill -KILL -- -"$!"
    until_true flock -n "$build/lock" true
    container_runs
    if [[ $way == again ]]; then
      runs true
      unit_test
      [[ $status -eq 0 ]] || { echo "$output" && false; }
      runs sleep 600
    else
      "$scripts/prune.sh" "$work/builds"
    fi
    nothing_is_left
  done
}
