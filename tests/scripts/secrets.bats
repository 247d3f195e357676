#!/usr/bin/env bats
# Secrets of install, build and test: where they are, and where nothing of them is. And what a build
# prints, which is bounded.

load ../support/helper

setup() {
  common_setup
  cd "$work" || return
  export DOCKER=${DOCKER:-docker} SECRETS=$work/secrets
  mkdir -p "secrets/$repository"
}

teardown() {
  cat "$work"/builds/*/*/*/image "$work"/builds/*/*/*/.test-image 2>/dev/null | sort -u \
    | xargs -r "$DOCKER" rmi -f >"$work/removed" 2>&1 || true
}

# project SETTINGS FILE CONTENT...: a build of it, staged.
project() {
  repository app "${@:2}"
  configure app "$1"
  stage
}

# pipeline STATUS: it ends so.
pipeline() {
  run "$scripts/pipeline.sh" "$build"
  echo "$output"
  [[ $(jq -r .status "$build/result.json") == "$1" ]]
}

# leaks VALUE: files of the build directory that have it, and the image's history.
leaks() {
  grep -rla --exclude-dir=.git -e "$1" "$build" || true
  "$DOCKER" history --no-trunc "$(<"$build/image")" | grep -e "$1" || true
}

@test "a secret reaches the install, a RUN and the tests that name it, and is covered wherever it is printed" {
  echo install-s3cret-1 >"secrets/$repository/NPM"
  echo build-s3cret-2 >secrets/BUILD
  echo other-s3cret-4 >secrets/NPM # the repository's own comes first
  printf test-s3cret-3 >secrets/TEST
  project '{"secrets": ["BUILD"], "install": {"env": {"NPM_TOKEN": {"secret": "NPM"}, "PLAIN": "as it is"}}, "test": {"env": {"PASSWORD": {"secret": "TEST"}, "PLAIN": "a b\n"}}, "log_max": "1MiB"}' \
    package.json '{"name": "app", "version": "1.0.0", "scripts": {"preinstall": "echo installs with $NPM_TOKEN, $PLAIN; node -p process.env.NPM_TOKEN.length >length", "test": "node test.js"}}' \
    test.js 'console.log("tests with", process.env.PASSWORD, JSON.stringify(process.env.PLAIN), process.env.PASSWORD.length)' \
    Dockerfile "# syntax is the engine's own
FROM $BASE_IMAGE
WORKDIR /app
COPY . .
RUN --mount=type=secret,id=BUILD echo builds with \$(cat /run/secrets/BUILD), \$(cat /run/secrets/BUILD | base64)"
  pipeline success
  cat "$build/console.log"
  grep -F 'installs with ***, as it is' "$build/console.log"
  grep -F 'builds with ***, ***' "$build/console.log"
  grep -F 'tests with *** "a b\n" 13' "$build/console.log"
  [[ $(<"$build/src/length") -eq 16 ]]
  for value in s3cret "$(echo build-s3cret-2 | base64 | cut -c 1-16)"; do
    [[ -z $(leaks "$value") ]]
  done
}

@test "what fails with a secret in its last words has it covered in the message" {
  echo install-s3cret-1 >secrets/NPM
  project '{"install": {"env": {"NPM_TOKEN": {"secret": "NPM"}}}}' Dockerfile "FROM $BASE_IMAGE" \
    package.json '{"name": "app", "scripts": {"preinstall": "echo cannot use $NPM_TOKEN >&2; exit 1"}}'
  pipeline failure
  [[ $(jq -r .message "$build/result.json") == *"cannot use ***" ]]
  run ! grep -ra s3cret --exclude-dir=.git "$build"
}

@test "a secret that is missing is told before anything is done, and not tried again" {
  project '{"secrets": ["BUILD"], "retries": {"clone": 3}}' Dockerfile "FROM $BASE_IMAGE"
  pipeline error
  [[ $(jq -r .message "$build/result.json") == "pipeline.sh: there is no secret BUILD (put it into a file BUILD in $SECRETS)" && ! -e $build/src ]]
  unset SECRETS
  steps clone npm-install version
  fails 75 'there is no secret BUILD (put it into a file BUILD in a folder, which SECRETS is to name)' "$scripts/build.sh" "$build"
}

@test "without BuildKit there are no secrets, and it is said" {
  echo build-s3cret-2 >secrets/BUILD
  project '{"secrets": ["BUILD"]}' Dockerfile "FROM $BASE_IMAGE"
  steps clone npm-install version
  DOCKER_BUILDKIT=0 fails 75 '"secrets" and "ssh" need BuildKit' "$scripts/build.sh" "$build"
}

@test "what one entry leaves in a cache mount is none of another's" {
  dockerfile="FROM $BASE_IMAGE
RUN --mount=type=cache,id=shared-$$,target=/cache ls -A /cache >/found; touch /cache/poison"
  project '{}' Dockerfile "$dockerfile"
  steps clone npm-install version build
  first=$(<"$build/image")
  jq --arg other "$repository-other" '.repositories[$other] = (.repositories[] | . + {build_args: {X: "1"}})' config.json >changed
  mv changed config.json
  build=$(CONFIG=config.json "$scripts/stage.sh" "$repository-other")
  steps clone npm-install version build
  [[ $("$DOCKER" run --rm --entrypoint cat "$(<"$build/image")" /found) == "" ]]
  [[ $("$DOCKER" run --rm --entrypoint cat "$first" /found) == "" ]]
}

@test "a build that prints more than log_max is ended, and says so" {
  project '{"log_max": "1MiB"}' package.json '{"name": "app", "scripts": {"preinstall": "yes endless"}}' Dockerfile "FROM $BASE_IMAGE"
  pipeline failure >"$work/out" 2>&1
  [[ $(jq -r .message "$build/result.json") == 'pipeline.sh: npm-install was ended, as the build has printed more than 1MiB (see "log_max")' ]]
  [[ $(jq .exit_code "$build/result.json") -eq 1 && $(stat -c %s "$build/console.log") -gt 1048576 ]]
  run ! pgrep -fx 'yes endless'
}

@test "pipes and sockets that an install leaves where later steps look end the build, or are passed over" {
  for name in Dockerfile .dockerignore Dockerfile.dockerignore; do
    rm -rf app
    project '{}' package.json "{\"name\": \"app\", \"scripts\": {\"preinstall\": \"rm -f $name; mkfifo $name\"}}" Dockerfile "FROM $BASE_IMAGE
COPY . ."
    run timeout 100 "$scripts/pipeline.sh" "$build"
    [[ $(jq -r .message "$build/result.json") == *"$name is no regular file"* ]]
  done
  rm -rf app
  project '{}' package.json '{"name": "app", "version": "1.0.0", "scripts": {"preinstall": "rm -f test.js .mailmap; mkfifo test.js .mailmap .gitattributes .npmrc.more; node -e \"require(String.fromCharCode(110,101,116)).createServer().listen(String.fromCharCode(115),process.exit)\"", "test": "true"}}' \
    Dockerfile "FROM $BASE_IMAGE
COPY . /app"
  run timeout 100 "$scripts/pipeline.sh" "$build"
  echo "$output"
  [[ $status -ne 124 && -f $build/result.json && $(<"$build/version") == 1.0.0 ]]
  "$DOCKER" version >"$work/out"
}

@test "a step that is skipped is so in the list of steps" {
  project '{}' Dockerfile "FROM $BASE_IMAGE"
  pipeline success
  [[ $(jq -r '.steps[] | select(.name == "npm-install").status' "$build/result.json") == skipped ]]
  [[ $(awk -F '\t' '$1 == "end" && $2 == "npm-install" {print $4}' "$build/steps") == skipped ]]
}
