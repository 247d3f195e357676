#!/usr/bin/env bats
# retag.sh and lib/ask-registry.sh: tags of what is in the registry already.

load ../support/helper

setup() {
  common_setup
  name=$REGISTRY/$repository
}

teardown() {
  "$DOCKER" images -q --filter "reference=*/$repository" | sort -u | xargs -r "$DOCKER" rmi -f >/dev/null 2>&1 || true
}

# pushed TAG: an image of its own, under that tag; sets $digest.
pushed() {
  mkdir -p "$work/image"
  echo "$1" >"$work/image/content"
  printf 'FROM scratch\nCOPY content /\n' >"$work/image/Dockerfile"
  "$DOCKER" build -q -t "$name:$1" "$work/image" >/dev/null
  digest=$("$DOCKER" push "$name:$1" | sed -n 's/.*digest: \(sha256:[0-9a-f]*\).*/\1/p')
}

@test "an image of the registry gets further tags, by its digest" {
  pushed 1.0.0
  first=$digest
  pushed 2.0.0
  run "$scripts/lib/ask-registry.sh" "$name"
  [[ $status -eq 0 && $(sort <<<"$output") == $'1.0.0\n2.0.0' ]] || { echo "$output" && false; }
  run "$scripts/retag.sh" "$name@$first" latest production
  [[ $status -eq 0 ]] || { echo "$output" && false; }
  [[ $output == *"retag.sh: $name:latest is $first"* ]]
  run "$scripts/lib/ask-registry.sh" "$name" latest none production 2.0.0
  [[ $status -eq 0 && $output == "latest $first"$'\n'"production $first"$'\n'"2.0.0 $digest" ]]
}

@test "what is not there, or is no image, is said" {
  run "$scripts/retag.sh" -h
  [[ $status -eq 0 && $output == "retag.sh NAME@DIGEST TAG... "* ]]
  nothing=sha256:$(printf '0%.0s' {1..64})
  fails 2 "usage: retag.sh NAME@DIGEST TAG" "$scripts/retag.sh" "$name:1.0.0" latest
  fails 2 "usage: retag.sh NAME@DIGEST TAG" "$scripts/retag.sh" "$name@$nothing"
  fails 2 '"../x" is no image tag' "$scripts/retag.sh" "$name@$nothing" ../x
  fails 75 "cannot set $name:latest: " "$scripts/retag.sh" "$name@$nothing" latest
  fails 2 "usage: ask-registry.sh NAME" "$scripts/lib/ask-registry.sh" nothing
  run "$scripts/lib/ask-registry.sh" "$name"
  [[ $status -eq 0 && -z $output ]]
  fails 75 "cannot ask the registry" "$scripts/lib/ask-registry.sh" 127.0.0.1:1/x
}
