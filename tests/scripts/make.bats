#!/usr/bin/env bats
# The Makefile: each step by make, on a build directory or on a repository's latest build.

load ../support/helper

setup() {
  common_setup
  sample app
  configure app
  export CONFIG=$work/config.json
}

# by_make TARGET VAR=VALUE...: as a person would type it; the virtual environment stands already.
by_make() { run make -C "$root" -o .venv/.ready --no-print-directory "$@"; }

# makes: by_make, and it must succeed.
makes() {
  by_make "$@"
  [[ $status -eq 0 ]] || { echo "make $*: $output" && return 1; }
}

# pushed: the six steps left what they should.
pushed() {
  [[ $(tail -n 1 "$build/tested") == passed && $(in_registry "$repository") == "0.3 0.3.0 latest main sha-"* ]]
}

@test "the six steps one by one, by BUILD" {
  makes stage REPO="$repository" REF=main
  build=$output
  [[ -f $build/build.json && $(jq -r .ref "$build/build.json") == refs/heads/main ]]
  for step in clone npm-install version build unit-test tag-push; do
    makes "$step" BUILD="$build"
  done
  pushed
}

@test "the six steps one by one, by REPO: its latest build" {
  makes stage REPO="$repository"
  makes stage REPO="$repository"
  build=$(realpath "$work/builds/$repository/latest")
  [[ $build -ef $output ]]
  for step in clone npm-install version build unit-test tag-push; do
    makes "$step" REPO="$repository" BUILDS="$work/builds"
  done
  pushed
}

@test "make stage takes a commit, and BUILDS" {
  commit=$(git -C "$work/app" rev-parse HEAD)
  makes stage REPO="$repository" REF=refs/heads/gone COMMIT="$commit" BUILDS="$work/other"
  [[ $output == "$work/other/$repository/"* && $(jq -r .commit "$output/build.json") == "$commit" ]]
}

@test "make pipeline runs them all, or from a step on" {
  makes stage REPO="$repository"
  build=$output
  makes pipeline BUILD="$build"
  pushed
  makes pipeline REPO="$repository" BUILDS="$work/builds" FROM=unit-test
  [[ $(jq '.steps | length' "$build/result.json") -eq 2 ]]
  by_make pipeline BUILD="$build" FROM=nowhere
  [[ $status -ne 0 && $output == *'FROM=nowhere is no step'* ]]
}

@test "wrong arguments are an error, in the script's words" {
  for step in clone npm-install version build unit-test tag-push pipeline; do
    for argument in BUILD= BUILD="$work" REPO=no/thing BUILD=-x; do
      by_make "$step" "$argument"
      [[ $status -ne 0 && $output == *"$step.sh: "* ]]
    done
  done
  for argument in REPO= REPO=-x REPO=no/thing REPO=a; do
    by_make stage "$argument"
    [[ $status -ne 0 ]]
  done
}

@test "values are text to the shell" {
  by_make stage REPO="$repository" REF='x"; touch pwned; "$(touch pwned)`touch pwned`'
  [[ $status -ne 0 && $output == *'no name of a ref'* ]]
  by_make clone BUILD="$work/\"; touch pwned; \$(touch pwned)"
  [[ $status -ne 0 && ! -e $root/pwned ]]
}

@test "make logs follows the console of the latest build" {
  makes stage REPO="$repository"
  echo "something happens" >"$output/console.log"
  make -C "$root" logs REPO="$repository" BUILDS="$work/builds" >"$work/out" 2>&1 3>&- &
  until_true grep -q 'something happens' "$work/out"
  pkill -P "$!"
}

@test "make logs without a build says so" {
  mkdir "$work/none"
  for repo in '' o/n; do
    run --separate-stderr make -C "$root" logs REPO="$repo" BUILDS="$work/none"
    [[ $status -ne 0 && $stderr == "no build yet (make trigger REPO=owner/name)"* ]]
  done
}

@test "make help, and make alone, list every target" {
  makes help
  mapfile -t targets < <(sed -n 's/^\.PHONY: //p' "$root/Makefile")
  [[ ${#targets[@]} -gt 15 ]]
  for target in "${targets[@]}"; do
    grep -qE "^  $target +[^ ]" <<<"$output"
  done
  [[ $(make -C "$root" --no-print-directory) == "$output" ]]
}
