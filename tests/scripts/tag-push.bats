#!/usr/bin/env bats
# tag-push.sh: what the registry serves, told by the registry itself.

load ../support/helper

setup() {
  common_setup
}

teardown() {
  end_jobs
  "$DOCKER" images -q --filter "reference=*/$repository" | sort -u | xargs -r "$DOCKER" rmi -f >/dev/null 2>&1 || true
}

tag_push() { run "$scripts/tag-push.sh" "$build"; }

# pushes: it must succeed.
pushes() {
  tag_push
  [[ $status -eq 0 ]] || { echo "$output" && return 1; }
}

# served TAG: the digest the registry answers with.
served() {
  curl -sfI -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' "http://$REGISTRY/v2/$repository/manifests/$1" \
    | tr -d '\r' | sed -n 's/^docker-content-digest: //Ip'
}

# label TAG NAME: of the image the registry serves.
label() {
  local config
  config=$(curl -sf -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' "http://$REGISTRY/v2/$repository/manifests/$1" | jq -r .config.digest)
  curl -sf "http://$REGISTRY/v2/$repository/blobs/$config" | jq -r --arg name "org.opencontainers.image.$2" '.config.Labels[$name]'
}

# is_ours TEXT: exit code 75 with this in the last line, and nothing noted as pushed.
is_ours() {
  [[ $status -eq 75 && ${lines[-1]} == "tag-push.sh: "*"$1"* && ! -e $build/pushed ]] || { echo "$status: $output" && return 1; }
}

@test "tag-push.sh is a step" {
  is_a_step tag-push
}

@test "before the tests it is called too early" {
  built 1.2.3 aaa 1.2.3
  rm "$build/tested"
  fails 2 "has no tested (run the steps before this one first)" "$scripts/tag-push.sh" "$build"
}

@test "every tag is in the registry, with the digest noted in pushed; as often as it is run" {
  built 1.2.3 aaa 1.2.3 sha-aaa main 1.2 1 latest
  for _ in once again; do
    pushes
    [[ $(in_registry "$repository") == "1 1.2 1.2.3 latest main sha-aaa" ]]
    digest=$(served 1.2.3)
    [[ $digest == sha256:* ]]
    for tag in 1.2.3 sha-aaa main 1.2 1 latest; do
      [[ $(served "$tag") == "$digest" ]]
      echo "$REGISTRY/$repository:$tag@$digest"
    done >"$work/expected"
    diff "$work/expected" "$build/pushed"
  done
  # What is there already is not pushed again, and the engine has one tag alone.
  [[ $output != *"digest: sha256:"* && $output != *"latest is sha256:"* && $output != *"main is sha256:"* ]]
  [[ $("$DOCKER" images --format '{{.Tag}}' "$REGISTRY/$repository") == 1.2.3 ]]
}

@test "a client that prints no digest, as podman" {
  printf '#!/bin/sh\ncase $1 in push) exec "%s" "$@" >/dev/null ;; *) exec "%s" "$@" ;; esac\n' "$DOCKER" "$DOCKER" >"$work/docker"
  chmod +x "$work/docker"
  for version in 1.2.3 1.2.4 1.2.4; do
    built "$version" "aaa$version" "$version" 1.2
    DOCKER=$work/docker pushes
    [[ $(served 1.2) == "$(served "$version")" ]]
  done
}

@test "an image other than the tested one is refused" {
  built 1.0.0 aaa 1.0.0
  cp "$build/tested" "$work"
  built 1.0.0 aaa 1.0.0
  cp "$work/tested" "$build"
  tag_push
  [[ $status -eq 1 && ${lines[-1]} == *"is not the one that was tested"*"(run unit-test.sh again)" && ! -e $build/pushed ]]
  [[ ! $(in_registry "$repository") ]]
}

@test "a registry or an engine that is down is ours to mend, and nothing counts as pushed" {
  built 1.0.0 aaa 1.0.0
  pushes
  change '.settings.registry = "127.0.0.1:1"'
  tag_push
  is_ours 'connection refused'
  built 1.1.0 aaa 1.1.0
  DOCKER_HOST=unix://$work/nothing tag_push
  is_ours 'the Docker engine does not answer'
}

@test "a registry that errs when asked for the version is not taken for one that lacks it" {
  built 1.0.0 aaa 1.0.0
  for answer in 500 503 429 html; do
    stub "$answer" 201
    change '.settings.registry = $stub' --arg stub "$stub"
    tag_push
    is_ours "cannot ask the registry for $stub/$repository:1.0.0"
    grep -q "/$repository/manifests/1.0.0" "$work/stub.log"
    run ! grep -E '^(PUT|POST)' "$work/stub.log"
    kill "$stub_pid"
  done
}

@test "a registry that errs when asked for an alias leaves that alone" {
  built 1.0.0 aaa 1.0.0 latest
  pushes
  printf '#!/bin/sh\ncase "$1 $*" in inspect*:latest) echo "unexpected status code 502 Bad Gateway" >&2; exit 1; esac\nexec "%s" "$@"\n' "$(type -P skopeo)" >"$work/skopeo"
  chmod +x "$work/skopeo"
  before=$(served latest)
  built 1.1.0 bbb 1.1.0 latest
  PATH=$work:$PATH tag_push
  is_ours '502 Bad Gateway'
  [[ $(served latest) == "$before" ]]
}

@test "a push that the registry does not take is ours to mend" {
  built 1.0.0 aaa 1.0.0 latest
  for answer in 500 429 403; do
    stub 404 "$answer"
    change '.settings.registry = $stub' --arg stub "$stub"
    tag_push
    words="cannot push $stub/$repository:1.0.0: "
    [[ $answer != 403 ]] || words="the registry refuses $stub/$repository:1.0.0: "
    is_ours "$words"
    [[ -e $build/.lasting || $answer != 403 ]] # which it is no use to try again
    grep -q "^PUT .*/$repository/manifests/1.0.0" "$work/stub.log"
    kill "$stub_pid"
  done
}

@test "an image that is gone from the engine is said to be" {
  built 1.0.0 aaa 1.0.0
  "$DOCKER" rmi -f "$(<"$build/image")" >/dev/null
  tag_push
  is_ours 'build.sh again'
}

@test "a push that was cut off is completed by another run" {
  # A registry of our own, that goes down after the first tag.
  # shellcheck disable=SC1091
  . "$root/tests/support/services.bash"
  mkdir "$work/registry"
  start_registry "$work/registry"
  printf '#!/bin/sh\n"%s" "$@" || exit\n[ "$1" != push ] || kill "$(cat "%s")"\n' "$DOCKER" "$work/registry/registry.pid" >"$work/docker"
  chmod +x "$work/docker"
  built 1.0.0 aaa 1.0.0 sha-aaa latest
  DOCKER=$work/docker tag_push
  [[ $status -eq 75 && ${lines[-1]} == "tag-push.sh: cannot set $REGISTRY/$repository:"* ]]
  [[ $(<"$build/pushed") == "$REGISTRY/$repository:1.0.0@sha256:"* && $(wc -l <"$build/pushed") -eq 1 ]]
  until_true gone "$(<"$work/registry/registry.pid")"
  start_registry "$work/registry"
  [[ $(in_registry "$repository") == 1.0.0 ]]
  pushes
  [[ $(in_registry "$repository") == "1.0.0 latest sha-aaa" && $(served latest) == "$(served 1.0.0)" && $(wc -l <"$build/pushed") -eq 3 ]]
  stop_registry "$work/registry"
}

@test "a version that is there from the same commit as another image stays, and gets the other tags" {
  built 1.0.0 aaa 1.0.0
  pushes
  first=$(served 1.0.0)
  built 1.0.0 aaa 1.0.0 sha-aaa latest
  pushes
  [[ $output == *"1.0.0 is there already, from the same commit; that image is left, and gets the other tags"* ]]
  for tag in 1.0.0 sha-aaa latest; do
    [[ $(served "$tag") == "$first" ]]
    grep -qx "$REGISTRY/$repository:$tag@$first" "$build/pushed"
  done
}

@test "a version that is there from another commit is never overwritten, and no other tag moves" {
  built 1.0.0 aaa 1.0.0 main latest
  pushes
  first=$(served 1.0.0)
  built 1.0.0 bbb 1.0.0 sha-bbb main latest
  tag_push
  [[ $status -eq 1 && ${lines[-1]} == *"1.0.0 is there already, from another commit"*"(tag a new one)" && ! -e $build/pushed ]]
  [[ $(in_registry "$repository") == "1.0.0 latest main" ]]
  for tag in 1.0.0 main latest; do
    [[ $(served "$tag") == "$first" ]]
  done
}

@test "a version of somebody else's, without labels, is not overwritten either" {
  built 1.0.0 aaa 1.0.0
  printf 'FROM scratch\nCOPY Dockerfile /\n' >"$build/Dockerfile"
  "$DOCKER" build -q -t "$REGISTRY/$repository:1.0.0" "$build"
  "$DOCKER" push -q "$REGISTRY/$repository:1.0.0"
  first=$(served 1.0.0)
  tag_push
  [[ $status -eq 1 && ${lines[-1]} == *"from another commit"* && $(served 1.0.0) == "$first" ]]
}

@test "a tag with the commit's digits stays where it is, and the build stays green" {
  built 1.0.0 abcdef1234 1.0.0 sha-abcdef1
  pushes
  first=$(served sha-abcdef1)
  built 2.0.0 abcdef1999 2.0.0 main sha-abcdef1 # another commit with the same seven digits
  pushes
  [[ $(served sha-abcdef1) == "$first" && $output == *"sha-abcdef1 never moves, and stays at commit abcdef1234"* ]]
  [[ $(served main) == "$(served 2.0.0)" && $(wc -l <"$build/pushed") -eq 2 ]]
  built 1.0.0-next.1 abcdef1234 1.0.0-next.1 next sha-abcdef1 # the same commit, as another branch has built it
  pushes
  [[ $(served sha-abcdef1) == "$first" && $(served next) == "$(served 1.0.0-next.1)" ]]
}

@test "a tag that the registry will not move: what it took is noted, the rest is told, and it is not tried again" {
  built 1.0.0 aaa 1.0.0 main
  stub 404 201,403
  change '.settings.registry = $stub' --arg stub "$stub"
  tag_push
  [[ $status -eq 75 && -e $build/.lasting ]]
  [[ ${lines[-1]} == *"the registry refuses $stub/$repository:main: "*'(may this user move it? else leave this one out of "publish")' ]]
  [[ $(<"$build/pushed") == "$stub/$repository:1.0.0@sha256:"* && $(wc -l <"$build/pushed") -eq 1 ]]
}

@test "a registry that answers 401 or 403 for what is not there is asked for its tags" {
  for answer in 401 403; do
    built 1.0.0 aaa 1.0.0 latest
    stub "$answer" 201
    change '.settings.registry = $stub' --arg stub "$stub"
    pushes
    grep -q "/$repository/tags/list" "$work/stub.log"
    tag_push # now they are listed, and still cannot be read
    [[ $status -eq 75 && ${lines[-1]} == *"cannot ask the registry for $stub/$repository:1.0.0: "* ]]
    kill "$stub_pid"
  done
}

@test "an alias that somebody has moved back is set again" {
  built 1.0.0 aaa 1.0.0 latest
  pushes
  low=$(served latest)
  built 1.1.0 bbb 1.1.0 latest
  pushes
  skopeo --insecure-policy copy -q --src-tls-verify=false --dest-tls-verify=false "docker://$REGISTRY/$repository@$low" "docker://$REGISTRY/$repository:latest"
  [[ $(served latest) == "$low" ]]
  pushes
  [[ $(served latest) == "$(served 1.1.0)" ]]
}

@test "latest is the very last that is set" {
  built 1.0.0 aaa 1.0.0 main 1.0 1 latest
  stub 404 201
  change '.settings.registry = $stub' --arg stub "$stub"
  pushes
  mapfile -t put < <(sed -n 's#^PUT .*/manifests/##p' "$work/stub.log")
  [[ "${put[0]} ${put[*]: -3}" == "1.0.0 1.0 1 latest" ]]
}

@test "an old build pushed again moves no alias below what is served" {
  built 1.9.0 aaa 1.9.0 1.9 1 latest
  old=$build
  pushes
  built 1.10.0 bbb 1.10.0 1.10 1 latest
  pushes
  build=$old
  pushes
  [[ $output == *":latest stays at 1.10.0, which is higher than 1.9.0"* ]]
  [[ $(served 1) == "$(served 1.10.0)" && $(served latest) == "$(served 1.10.0)" && $(served 1.9) == "$(served 1.9.0)" ]]
  [[ $(wc -l <"$build/pushed") -eq 2 ]]
}

# release TAG FILE CONTENT: commits, tags and builds that, as the pipeline would.
release() {
  commit app "${@:2}"
  git -C "$work/app" tag "$1"
  stage "refs/tags/$1" "$(git -C "$work/app" rev-parse "$1")"
  steps clone version build unit-test tag-push
}

@test "releases in any order: latest, 2, 1.2 and 1 stay with the highest of their line" {
  repository app Dockerfile $'FROM scratch\nCOPY x /'
  configure app
  release v1.2.0 x 1.2.0
  release v2.0.0 x 2.0.0
  git -C "$work/app" checkout -q v1.2.0
  release v1.2.1 x 1.2.1
  git -C "$work/app" checkout -q v2.0.0
  release v3.0.0-rc.1 x 3.0.0-rc.1
  git -C "$work/app" checkout -q v2.0.0
  release v2.0.1+exp.1 x 2.0.1+exp.1
  [[ $(served latest) == "$(served 2.0.0)" && $(served 2) == "$(served 2.0.0)" && $(served 2.0) == "$(served 2.0.0)" ]]
  [[ $(served 1.2) == "$(served 1.2.1)" && $(served 1) == "$(served 1.2.1)" ]]
  [[ " $(in_registry "$repository") " != *" "[03]" "* && $(served 3.0.0-rc.1) ]]
  [[ $(label 2.0.1-exp.1 version) == 2.0.1+exp.1 ]]
}

@test "a git tag moved to another commit does not change what the registry serves" {
  repository app Dockerfile $'FROM scratch\nCOPY x /'
  configure app
  release v1.0.0 x first
  first=$(served 1.0.0)
  commit app x second
  git -C "$work/app" tag -f v1.0.0
  stage refs/tags/v1.0.0 "$(git -C "$work/app" rev-parse v1.0.0)"
  steps clone version build unit-test
  tag_push
  [[ $status -eq 1 && ${lines[-1]} == *"from another commit, and a version is never overwritten"* ]]
  [[ $(served 1.0.0) == "$first" && $(served latest) == "$first" && $(label latest revision) != "$(jq -r .commit "$build/build.json")" ]]
}

@test "without a version among the tags nothing has to stay as it is; without tags nothing is pushed" {
  sample app
  configure app '{"publish": ["edge-{sha}"]}'
  stage
  steps clone npm-install version build unit-test tag-push
  echo moving >"$build/tags"
  steps tag-push
  MESSAGE='fix: another' commit app test.js 'console.log("another")'
  stage
  steps clone npm-install version build unit-test
  echo moving >"$build/tags"
  steps tag-push
  [[ $(<"$build/pushed") == *":moving@sha256:"* ]]
  : >"$build/tags"
  steps tag-push
  [[ -e $build/pushed && ! -s $build/pushed ]]
}

@test "a version that is withdrawn moves no alias, and stands in nobody's way" {
  built 1.1.0 "$(printf 'a%.0s' {1..40})" 1.1.0 1 latest
  pushes
  first=$(served 1.1.0)
  built 1.2.0 "$(printf 'b%.0s' {1..40})" 1.2.0 1 latest
  echo "1.2.0 2026-11-22T05:10:00Z ada@host" >"${build%/*}/withdrawn"
  pushes
  [[ $(served latest) == "$first" && $(served 1) == "$first" && $(served 1.2.0) ]]
  [[ $output == *"1.2.0 is withdrawn, so $REGISTRY/$repository:latest stays (docker-build-server withdraw $repository 1.2.0 --undo)"* ]]
  rm "${build%/*}/withdrawn"
  pushes
  [[ $(served latest) == "$(served 1.2.0)" ]]

  built 1.1.1 "$(printf 'c%.0s' {1..40})" 1.1.1 latest
  pushes
  [[ $(served latest) == "$(served 1.2.0)" ]]
  echo "1.2.0 2026-11-22T05:10:00Z ada@host" >"${build%/*}/withdrawn"
  pushes
  [[ $(served latest) == "$(served 1.1.1)" ]]
}

@test "a branch's tag goes back only with its branch" {
  mirror=$work/builds/.cache/git/$repository.git
  mkdir -p "${mirror%/*}"
  git init -q --bare -b main "$mirror"
  repository app file one
  old=$(git -C "$work/app" rev-parse HEAD)
  commit app file two
  new=$(git -C "$work/app" rev-parse HEAD)
  git -C "$work/app" push -q "$mirror" main

  built 0.1.1 "$new" 0.1.1 main
  pushes
  built 0.1.0 "$old" 0.1.0 main
  pushes
  [[ $(served main) == "$(served 0.1.1)" ]]
  [[ $output == *"$REGISTRY/$repository:main stays at ${new:0:7}, which came after ${old:0:7} (push the branch back to move it)"* ]]
  git -C "$work/app" push -qf "$mirror" "$old:main"
  pushes
  [[ $(served main) == "$(served 0.1.0)" ]]
}

@test "which refusals stay: a token that has expired may be another the next time" {
  # shellcheck source=scripts/lib/registry.sh
  . "$scripts/lib/registry.sh"
  for words in 'denied: requested access to the resource is denied' 'unauthorized: authentication required' \
    'unknown: The operation is disallowed on this registry, repository or image.' 'unexpected status code 405 Method Not Allowed'; do
    is_refusal "$words"
  done
  for words in 'denied: Your authorization token has expired. Reauthenticate and try again.' \
    'unauthorized: expired token' 'received unexpected HTTP status: 500' 'EOF'; do
    run -1 is_refusal "$words"
  done
}

@test "a machine that has lost the build's lock to another pushes nothing" {
  built 1.2.3 aaa 1.2.3 main latest
  "$scripts/version.sh" "$build" || true # which fills in the settings
  exec {LOCK_FD}<>"$build/lock"
  export LOCK_FD LOCK_TOKEN=mine
  echo "here 1 theirs" >"$build/lock"
  fails 69 "another has taken this build over" "$scripts/tag-push.sh" "$build"
  [[ -z $(in_registry "$repository") && ! -e $build/pushed ]]

  echo "here 1 mine" >"$build/lock"
  pushes
  [[ $(in_registry "$repository") == "1.2.3 latest main" ]]
}

@test "a lock that is lost between the first push and the aliases is noticed before these" {
  built 1.2.3 aaa 1.2.3 latest
  "$scripts/version.sh" "$build" || true # which fills in the settings
  exec {LOCK_FD}<>"$build/lock"
  export LOCK_FD LOCK_TOKEN=mine
  echo "here 1 mine" >"$build/lock"
  printf '#!/bin/sh\n"%s" "$@" || exit\ntest "$1" != push || echo "here 1 theirs" >"%s"\n' \
    "$DOCKER" "$build/lock" >"$work/docker"
  chmod +x "$work/docker"
  DOCKER=$work/docker fails 69 "another has taken this build over" "$scripts/tag-push.sh" "$build"
  [[ $(in_registry "$repository") == 1.2.3 ]]
}
