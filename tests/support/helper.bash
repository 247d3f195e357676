# shellcheck shell=bash
# helper.bash gives each test of the scripts a folder and names of its own, and common functions.
bats_require_minimum_version 1.5.0

root=$(realpath "$BATS_TEST_DIRNAME/../..")
scripts=$root/scripts
PATH=$root/.venv/bin:$PATH
git_identity=(-c user.name=Tester -c user.email=tester@example.com)

common_setup() {
  work=$BATS_TEST_TMPDIR/work
  mkdir "$work"
  builds=0

  # No other test has these names of images and containers, in this run or in another one beside it.
  repository=test/${BATS_TEST_FILENAME##*/}-$BATS_TEST_NUMBER-$$
  repository=${repository//.bats/}

  unset FROM SOURCE EVENT BEFORE TARGET SETTINGS BUILDS LOCK_FD GITHUB_TOKEN GITHUB_TOKEN_FILE
}

# repository NAME [FILE CONTENT]...: $work/NAME is a new repository, with these files on main.
repository() {
  git init -q -b main "$work/$1"
  commit "$@"
}

# commit NAME [FILE CONTENT]...: writes the files and commits all, as "fix: change" or $MESSAGE.
commit() {
  local folder=$work/$1
  shift

  while [[ $# -gt 0 ]]; do
    mkdir -p "$(dirname "$folder/$1")"
    printf '%s\n' "$2" >"$folder/$1"
    shift 2
  done

  git -C "$folder" add -A
  git -C "$folder" "${git_identity[@]}" commit -q --allow-empty -m "${MESSAGE:-fix: change}"
}

# sample NAME: a Node.js application with a lock file, a test, a Dockerfile that copies everything.
sample() {
  local about='"name": "app", "version": "0.3.0"'
  local package='"license": "MIT", "scripts": {"test": "node test.js"}'
  local lock='"lockfileVersion": 3, "requires": true'

  repository "$1" \
    package.json "{$about, $package}" \
    package-lock.json "{$about, $lock, \"packages\": {\"\": {$about}}}" \
    test.js 'console.log("the test ran")' \
    .dockerignore '.git' \
    Dockerfile "FROM $BASE_IMAGE
WORKDIR /app
COPY . ."
}

# configure NAME [JSON]: config.json in $work builds $work/NAME as $repository, with these settings.
configure() {
  local more=${2:-'{}'}

  jq -n --arg registry "${REGISTRY:-127.0.0.1:5000}" --arg name "$repository" \
    --arg url "file://$work/$1" --argjson more "$more" '{
      $registry, builds: "builds", disk_free_min: "1MiB",
      repositories: {($name): ({$url} + $more)}
    }' >"$work/config.json"
}

# stage [REF [COMMIT]]: sets $build.
stage() {
  build=$(CONFIG=$work/config.json "$scripts/stage.sh" "$repository" "$@")
}

# steps STEP...: runs them on $build, quietly unless one fails.
steps() {
  local step

  for step; do
    if ! "$scripts/$step.sh" "$build" >"$work/out" 2>&1; then
      cat "$work/out"
      return 1
    fi
  done
}

# copy BUILD [SUFFIX]: sets $build to a copy, with names of its own in the engine and the registry.
copy() {
  build=$work/builds/$repository${2-}/${1##*/}
  mkdir -p "${build%/*}"
  cp -a "$1" "$build"
  change ".settings.image = \"$repository${2-}\""
}

# built VERSION COMMIT TAG...: sets $build to a tested build, with an image of its own.
built() {
  build=$work/builds/$repository/$((++builds))
  mkdir -p "$build"
  jq -n --arg commit "$2" --arg registry "$REGISTRY" --arg image "$repository" \
    '{format: 1, $commit, ref: "refs/heads/main", settings: {$registry, $image}}' \
    >"$build/build.json"

  echo "$builds" >"$build/content"
  printf 'FROM scratch\nCOPY content /\n' >"$build/Dockerfile"
  "$DOCKER" build -q --label "org.opencontainers.image.version=$1" \
    --label "org.opencontainers.image.revision=$2" "$build" >"$build/image"

  echo "$1" >"$build/version"
  printf '%s\n' "${@:3}" >"$build/tags"
  { cat "$build/image" && echo passed; } >"$build/tested"
}

# change FILTER [OPTION...]: rewrites the build's build.json with jq, and has settings/ made of it
# anew.
change() {
  jq "$@" <"$build/build.json" >"$build/.changed"
  mv "$build/.changed" "$build/build.json"
  rm -rf "$build/settings"
}

# fails CODE TEXT COMMAND...: it exits with CODE, and the last line of its standard error has TEXT;
# of its standard output, where it has put both there, as a step does that keeps its console.log.
# It leaves $output and $stderr, as run does.
fails() {
  local last
  run --separate-stderr -- "${@:3}"
  last=${stderr:-$output}

  if [[ $status -ne $1 || ${last##*$'\n'} != *"$2"* ]]; then
    printf 'exit code %s where %s was due, with "%s" in:\n' "$status" "$1" "$2"
    printf '%s\n%s\n' "$output" "$stderr"
    return 1
  fi
}

# is_a_step STEP: it keeps what every step promises of its one argument, and of the build's lock.
is_a_step() {
  local step=$scripts/$1.sh
  local argument fresh lock

  run --separate-stderr "$step" -h
  [[ $status -eq 0 ]]
  [[ $output == "$1.sh BUILD"*"Exit codes: 0 "* ]]
  [[ $output != *'#'* ]]
  [[ -z $stderr ]]

  configure nowhere
  stage refs/heads/main "$(printf '%040d' 1)"
  fresh=$(ls -A "$build")
  fails 2 "usage: $1.sh BUILD" "$step"
  fails 2 "usage: $1.sh BUILD" "$step" ""
  fails 2 "usage: $1.sh BUILD" "$step" "$build" "$build"
  for argument in "" -x --help "$work/missing" "$work" "$build/build.json"; do
    fails 2 "$1.sh: " "$step" "$argument"
    [[ -z $output ]]
    [[ $stderr != *$'\n'* ]]
  done
  [[ $(ls -A "$build") == "$fresh" ]] # and nothing was done

  exec {lock}>>"$build/lock"
  flock "$lock"
  echo 4711 >"$build/lock"
  fails 69 "is being worked on by process 4711 (wait for it" "$step" "$build"
  [[ $stderr != *$'\n'* ]]
  [[ $(ls -A "$build") == "$(sort <<<"$fresh"$'\nlock')" ]]
  exec {lock}>&-
}

# in_registry IMAGE: its tags there, sorted, in one line.
in_registry() {
  curl -s "http://$REGISTRY/v2/$1/tags/list" | jq -r '.tags // [] | sort | join(" ")'
}

# stub LOOKUP PUSH: starts stub.py and sets $stub to its HOST:PORT. It logs to $work/stub.log.
# shellcheck disable=SC2034 # the tests read them
stub() {
  rm -f "$work/stub.log"
  python3 -u "$root/tests/support/stub.py" "$@" >"$work/stub.log" 3>&- &
  stub_pid=$!
  until_true test -s "$work/stub.log"
  stub=127.0.0.1:$(head -n 1 "$work/stub.log")
}

# gate RULE...: starts gate.py before the registry, which $REGISTRY then is. It logs to
# $work/gate.log.
gate() {
  rm -f "$work/gate.log"
  python3 -u "$root/tests/support/gate.py" "$REGISTRY" "$@" >"$work/gate.log" 3>&- &
  until_true test -s "$work/gate.log"
  REGISTRY=127.0.0.1:$(head -n 1 "$work/gate.log")
}

# end_jobs ends what a test left in the background.
end_jobs() {
  local job

  for job in $(jobs -p); do
    kill -KILL "$job" || true
    wait "$job" || true
  done 2>/dev/null
}

# until_true COMMAND...: waits until it succeeds, half a minute at most.
until_true() {
  local deadline=$((SECONDS + 30))

  until "$@"; do
    if [[ $SECONDS -ge $deadline ]]; then
      echo "never came true: $*"
      return 1
    fi
    sleep 0.05
  done
}
