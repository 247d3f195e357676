# shellcheck shell=bash
# helper.bash: what the tests of the scripts share. Real git, npm, engine and registry; a folder and names for each test.
bats_require_minimum_version 1.5.0

root=$(realpath "$BATS_TEST_DIRNAME/../..")
scripts=$root/scripts
PATH=$root/.venv/bin:$PATH
git_identity=(-c user.name=Tester -c user.email=tester@example.com)

# repository NAME [FILE CONTENT]...: a new git repository in $work/NAME with these files, committed on main.
repository() {
  local folder=$work/$1
  git init -q -b main "$folder"
  commit "$@"
}

# commit NAME [FILE CONTENT]...: writes the files and commits all, "fix: change" or $MESSAGE.
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

# sample NAME: a small Node.js application with a lock file, a test and a Dockerfile that copies everything.
sample() {
  repository "$1" \
    package.json '{"name": "app", "version": "0.3.0", "license": "MIT", "scripts": {"test": "node test.js"}}' \
    package-lock.json '{"name": "app", "version": "0.3.0", "lockfileVersion": 3, "requires": true, "packages": {"": {"name": "app", "version": "0.3.0"}}}' \
    test.js 'console.log("the test ran")' \
    .dockerignore '.git' \
    Dockerfile "FROM $BASE_IMAGE
WORKDIR /app
COPY . ."
}

# configure NAME [JSON]: config.json in $work that builds $work/NAME as $repository, with these settings.
configure() {
  jq -n --arg registry "${REGISTRY:-127.0.0.1:5000}" --arg name "$repository" --arg url "file://$work/$1" --argjson more "${2:-{\}}" '
    {$registry, builds: "builds", disk_free_min: "1MiB", repositories: {($name): ({$url} + $more)}}' >"$work/config.json"
}

# stage [REF [COMMIT]]: sets $build.
stage() { build=$(CONFIG=$work/config.json "$scripts/stage.sh" "$repository" "$@"); }

# steps STEP...: runs them on $build, quietly unless one fails.
steps() {
  local step
  for step; do
    "$scripts/$step.sh" "$build" >"$work/out" 2>&1 || { cat "$work/out" && return 1; }
  done
}

# fails CODE TEXT COMMAND...: it exits with CODE and says TEXT in the last line of its standard error. ($output
# and $stderr are left, as by run.)
fails() {
  run --separate-stderr -- "${@:3}"
  [[ $status -eq $1 && ${stderr##*$'\n'} == *"$2"* ]] || {
    printf 'exit code %s where %s was due, with "%s" in:\n%s\n%s\n' "$status" "$1" "$2" "$output" "$stderr"
    return 1
  }
}

# is_a_step STEP: what every step promises of its one argument, and of the build's lock.
is_a_step() {
  local step=$scripts/$1.sh lock fresh
  run --separate-stderr "$step" -h
  [[ $status -eq 0 && $output == "$1.sh BUILD"*"Exit codes: 0 "* && $output != *'#'* && ! $stderr ]]

  configure nowhere
  stage refs/heads/main "$(printf '%040d' 1)"
  fresh=$(ls -A "$build")
  fails 2 "usage: $1.sh BUILD" "$step"
  fails 2 "usage: $1.sh BUILD" "$step" ""
  fails 2 "usage: $1.sh BUILD" "$step" "$build" "$build"
  for argument in "" -x --help "$work/missing" "$work" "$build/build.json"; do
    fails 2 "$1.sh: " "$step" "$argument"
    [[ ! $output && $stderr != *$'\n'* ]]
  done
  [[ $(ls -A "$build") == "$fresh" ]] # and nothing was done

  exec {lock}>>"$build/lock"
  flock "$lock"
  echo 4711 >"$build/lock"
  fails 69 "is being worked on by process 4711 (wait for it" "$step" "$build"
  [[ $stderr != *$'\n'* && $(ls -A "$build") == "$fresh"$'\nlock' ]]
  exec {lock}>&-
}

# copy BUILD [SUFFIX]: sets $build to a copy of a build, that has names of its own in the engine and the registry.
copy() {
  build=$work/builds/$repository${2-}/${1##*/}
  mkdir -p "${build%/*}"
  cp -a "$1" "$build"
  change ".settings.image = \"$repository${2-}\""
}

# change FILTER [OPTION...]: rewrites the build's build.json with jq.
change() {
  jq "$@" <"$build/build.json" >"$build/.changed"
  mv "$build/.changed" "$build/build.json"
}

# in_registry IMAGE: its tags there, sorted, in one line.
in_registry() { curl -s "http://$REGISTRY/v2/$1/tags/list" | jq -r '.tags // [] | sort | join(" ")'; }

# stub LOOKUP PUSH: starts tests/support/stub.py; sets $stub, its HOST:PORT. Its requests stand in $work/stub.log.
# shellcheck disable=SC2034 # the tests'
stub() {
  rm -f "$work/stub.log"
  python3 -u "$root/tests/support/stub.py" "$@" >"$work/stub.log" 3>&- &
  stub_pid=$!
  until_true test -s "$work/stub.log"
  stub=127.0.0.1:$(head -n 1 "$work/stub.log")
}

# end_jobs: what a test left in the background.
end_jobs() {
  local job
  for job in $(jobs -p); do kill -KILL "$job" && wait "$job" || true; done 2>/dev/null
}

# until_true COMMAND...: waits for a condition, half a minute at most.
until_true() {
  local deadline=$((SECONDS + 30))
  until "$@"; do
    [[ $SECONDS -lt $deadline ]] || { echo "never came true: $*" && return 1; }
    sleep 0.05
  done
}

common_setup() {
  work=$BATS_TEST_TMPDIR/work
  mkdir "$work"
  # Unlike any other test's, in this run and in another at the same time: names of images and containers.
  repository=test/${BATS_TEST_FILENAME##*/}-$BATS_TEST_NUMBER-$$
  repository=${repository//.bats/}
  unset FROM SOURCE EVENT BEFORE TARGET SETTINGS BUILDS LOCK_FD GITHUB_TOKEN GITHUB_TOKEN_FILE
}
