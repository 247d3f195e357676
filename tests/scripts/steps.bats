#!/usr/bin/env bats
# steps.sh is the one list of the steps: the schema, the Makefile and README are held against it, and a step is added.

load ../support/helper

setup() {
  common_setup
  . "$scripts/lib/steps.sh"
}

# in_order FILE PATTERN: what the pattern's group finds in the file, in order, is the list of the steps.
in_order() {
  diff <(printf '%s\n' "${steps[@]}") <(sed -nE "s/$2/\1/p" "$1")
}

@test "each step is a script, and each script of a step is in the list" {
  [[ ${#steps[@]} -ge 6 ]]
  for script in "$scripts"/*.sh; do
    name=$(basename "$script" .sh)
    [[ $name =~ ^(stage|pipeline|prune|retag|launch|agent)$ || " ${steps[*]} " == *" $name "* ]] || { echo "$name is in no list" && false; }
  done
  for step in "${steps[@]}"; do
    [[ -x $scripts/$step.sh ]]
    [[ $(sed -n 2p "$scripts/$step.sh") == "# $step.sh BUILD "* ]]
  done
}

@test "each step has its time limit and its retries in the schema, and no other has" {
  for key in timeouts retries; do
    run jq -r --arg key "$key" '."$defs".settings.properties[$key].properties | keys_unsorted | join(" ")' "$root/wrapper/config.schema.json"
    [[ $output == "${steps[*]}" ]]
  done
}

@test "make has a target for each, and README a row, in order" {
  for step in "${steps[@]}"; do
    grep -qE "^$step: .*##" "$root/Makefile"
  done
  in_order <(grep -v 'pipeline.sh' "$root/README.md") '^\| `([a-z-]+)\.sh` \|.*'
}

@test "pipeline.sh -h shows them in order" {
  run "$scripts/pipeline.sh" -h
  line=${steps[*]}
  [[ $output == *"${line// / > }"* ]]
}

# own_checkout: scripts and schema of our own, to change.
own_checkout() {
  mkdir "$work/checkout"
  cp -a "$root/scripts" "$root/wrapper" "$work/checkout/"
  scripts=$work/checkout/scripts
}

@test "a step that ends without a word is told as that" {
  repository app file one
  configure app
  stage
  own_checkout
  printf '#!/bin/sh\necho hm; exit 3\n' >"$scripts/clone.sh"
  run "$scripts/pipeline.sh" "$build"
  [[ $status -eq 3 && $(jq -r .message "$build/result.json") == "pipeline.sh: clone ended with exit code 3, and no word of why (see console.log)" ]]
  [[ $(jq -c '.failing | map(.text)' "$build/result.json") == '["hm"]' ]]
}

@test "to add a step is its script, its line in the list, its settings in the schema" {
  repository app file one
  configure app
  stage # by the version without it
  own_checkout
  printf '%s\n' '#!/usr/bin/env bash' '# lint.sh BUILD looks at the source' '#' '# Exit codes: 0 clean, 1 not' 'set -euo pipefail' \
    '. "$(dirname -- "$(realpath -- "$0")")/lib/common.sh"' 'open_build "$@"' 'need src' 'leave linted "$(<"$build/src/file")"' \
    '[[ $(<"$build/linted") == one ]] || fail 1 "that is not one"' >"$scripts/lint.sh"
  chmod +x "$scripts/lint.sh"
  sed -i 's/^step clone .*/&\nstep lint linted/; /^step \(npm\|ver\|bui\|uni\|tag\)/d' "$scripts/lib/steps.sh"
  schema=$work/checkout/wrapper/config.schema.json
  jq '."$defs".settings.properties |= (.timeouts.properties.lint = {type: "integer", default: 5} | .retries.properties.lint = {type: "integer", default: 1})' \
    "$schema" >"$work/changed" && cp "$work/changed" "$schema"

  run "$scripts/pipeline.sh" "$build"
  [[ $status -eq 0 && $(jq -c '[.status, [.steps[].name]]' "$build/result.json") == '["success",["clone","lint"]]' ]]
  [[ $(<"$build/linted") == one && $(<"$build/settings/timeouts/lint") == 5 ]]

  commit app file two
  configure app
  stage
  run "$scripts/pipeline.sh" "$build"
  [[ $status -eq 1 && $(jq -r .message "$build/result.json") == "lint.sh: that is not one" ]]
  FROM=lint run "$scripts/pipeline.sh" "$build"
  [[ $status -eq 1 && $(jq -r .failed_step "$build/result.json") == lint ]]
  FROM=build fails 2 "FROM=build is no step (one of clone, lint)" "$scripts/pipeline.sh" "$build"
}
