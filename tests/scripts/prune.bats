#!/usr/bin/env bats
# prune.sh: what is surplus goes, and nothing else. The builds here were never run, but for their images.

load ../support/helper

setup() {
  common_setup
  builds=$work/builds
}

teardown() {
  end_jobs
  sort -u "$work/containers" 2>/dev/null | xargs -r "$DOCKER" rm -f >/dev/null 2>&1 || true
  sort -u "$work/made-images" 2>/dev/null | xargs -r "$DOCKER" rmi -f >/dev/null 2>&1 || true
}

# made NUMBER STATUS [KEEP [SOURCE]]: sets $build to a build, the higher the NUMBER the newer. A STATUS of - is none yet.
made() {
  build=$builds/$repository/20260101T000000.$(printf '%06d' "$1")Z-1234567
  mkdir -p "$build"
  jq -n --arg source "${4:-event}" --argjson keep "${3:-1}" --arg image "$repository" \
    '{format: 1, $source, settings: {$keep, registry: "127.0.0.1:1", $image}}' >"$build/build.json"
  [[ $2 == - ]] || jq -n --arg status "$2" '{format: 1, $status, steps: [{name: "clone", status: "success"}]}' >"$build/result.json"
  ln -sfn "${build##*/}" "$builds/$repository/latest"
}

# image TAG...: gives $build an image of its own, with these tags. Sets $image.
image() {
  image=$(printf 'FROM scratch\n' | "$DOCKER" build -q --label "unlike=$build" -)
  echo "$image" >>"$work/made-images"
  echo "$image" | tee "$build/image" >"$build/image.built"
  local tag
  : >"$build/tags"
  for tag; do
    "$DOCKER" tag "$image" "127.0.0.1:1/$repository:$tag"
    echo "$tag" >>"$build/tags"
  done
}

there() { "$DOCKER" image inspect "$@" >/dev/null 2>&1; }
# shellcheck disable=SC2329 # services.bash has another
gone() { ! there "$1"; } # a bare ! fails no test

# prune: and no complaint.
prune() {
  rm -f "$builds/.cache/measured"
  run --separate-stderr "$scripts/prune.sh" "$builds"
  [[ $status -eq 0 && ! $stderr ]] || { echo "$status: $output $stderr" && return 1; }
}

# kept NUMBER...: exactly these builds are left, and nothing half-removed.
kept() {
  local left
  left=$(find "$builds/$repository" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort | sed 's/^20260101T000000\.0*\(.*\)Z-1234567$/\1/' | tr '\n' ' ')
  [[ $left == "$* " ]] || { echo "left are $left" && return 1; }
}

@test "-h prints the manual; anything but one directory is refused" {
  run --separate-stderr "$scripts/prune.sh" -h
  [[ $status -eq 0 && $output == "prune.sh BUILDS"*"Exit codes: 0 "* && $output != *'#'* && ! $stderr ]]
  for arguments in "" "$work/missing" "$work $work" --help; do
    # shellcheck disable=SC2086 # several
    fails 2 "usage: prune.sh BUILDS" "$scripts/prune.sh" $arguments
  done
  [[ ! $(ls -A "$work") ]]
}

@test "the newest builds stay, as many as the newest one's settings say" {
  for number in 1 2 3 4 5; do made "$number" success 9; done
  made 6 failure 3
  prune
  kept 4 5 6
  [[ $output == *"removed $repository/.pruned.20260101T000000.000003Z-1234567"* ]]
  prune
  kept 4 5 6
}

@test "each repository has a number of its own" {
  for number in 1 2 3; do made "$number" success 2; done
  repository+=.other
  for number in 1 2 3; do made "$number" success 1; done
  repository=${repository%/*}/.github-${repository#*/} # the owner's own may be called so
  for number in 1 2 3; do made "$number" success 3; done
  prune
  kept 1 2 3
  repository=${repository/.github-/}
  kept 3
  repository=${repository%.other}
  kept 2 3
}

@test "the latest successful build stays, however old" {
  made 1 success
  made 2 success
  for number in 3 4 5; do made "$number" failure; done
  prune
  kept 2 5
  for number in 6 7; do made "$number" superseded 0; done
  prune
  kept 2
}

@test "what waits, is at work or was interrupted stays, and does not count" {
  made 1 -
  made 2 -
  touch "$build/console.log"
  made 3 failure
  exec {lock}>"$build/lock"
  flock "$lock"
  for number in 4 5 6; do made "$number" failure; done
  made 7 -
  prune
  kept 1 2 3 6 7
  exec {lock}>&-
  prune
  kept 1 2 6 7
}

@test "what GitHub is still to be told stays" {
  for number in 1 2 3 4 5 6; do
    made "$number" failure
    echo "failure failure" >"$build/status"
  done
  echo "refused failure" >"${build/6Z/2Z}/status" # GitHub will never take it
  echo "pending failure" >"${build/6Z/3Z}/status"
  echo "pending pending" >"${build/6Z/4Z}/status"
  echo "- error" >"${build/6Z/5Z}/status"
  prune
  kept 3 4 5 6
}

@test "a build of a newer format stays, and does not count" {
  made 1 success
  jq '.format = 2' "$build/build.json" >"$work/newer" && cp "$work/newer" "$build/build.json"
  for number in 2 3; do made "$number" success; done
  prune
  kept 1 3
}

@test "what BuildKit keeps is brought down to build_cache_max" {
  [[ $EUID -eq 0 ]] || skip "an engine of its own takes root"
  # shellcheck disable=SC1091
  . "$root/tests/support/services.bash"
  own=$(mktemp -d /tmp/engine.XXXXXX)
  start_engine "$own"
  made 1 success
  jq '.settings.build_cache_max = 104857600' "$build/build.json" >"$work/limited" && cp "$work/limited" "$build/build.json"
  mkdir "$work/context"
  for n in 1 2 3; do
    head -c 100M /dev/urandom >"$work/context/$n"
    printf 'FROM scratch\nCOPY %s /\n' "$n" | DOCKER_BUILDKIT=1 "$DOCKER" build -q -f - "$work/context" >"$work/id"
    "$DOCKER" rmi -f "$(<"$work/id")"
    rm "$work/context/$n"
  done
  cached() { "$DOCKER" system df --format '{{.Type}} {{.Size}}' | sed -n 's/^Build Cache //p' | numfmt --from=si --suffix=B | tr -d B; }
  [[ $(cached) -ge 290000000 ]]
  prune
  [[ $(cached) -le 110000000 && $(<"$builds/.cache/engine") == "$own/data" ]]
  stop_engine "$own"
  rm -rf "$own"
}

@test "an engine that hangs holds nothing up for long" {
  made 1 failure
  image 1.0.0
  made 2 success
  python3 -c 'import socket, sys, time; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); time.sleep(999)' "$work/socket" 3>&- &
  until_true test -S "$work/socket"
  DOCKER_HOST=unix://$work/socket fails 75 "the Docker engine does not answer" timeout 100 "$scripts/prune.sh" "$builds"
}

@test "a part of the cache that is a link is an operator's, and stays" {
  made 1 success
  mkdir -p "$work/elsewhere/x" "$builds/.cache/git/o"
  echo precious >"$work/elsewhere/x/file"
  ln -s "$work/elsewhere" "$builds/.cache/git/o/n.git"
  : >"$builds/.cache/git/o/n.git.lock"
  CACHE_MAX=1 prune
  [[ -L $builds/.cache/git/o/n.git && $(<"$work/elsewhere/x/file") == precious ]]
}

@test "builds by hand count by their age" {
  made 1 - 2 manual
  made 2 - 2 manual
  made 3 failure 2 manual
  prune
  kept 2 3
}

@test "what cannot be read is not ours to remove, and stops nothing" {
  made 1 failure
  echo '{"for' >"$build/build.json"
  rm "$build/result.json"
  for number in 2 3; do
    made "$number" success
    : >"$build/result.json"
  done
  made 4 success
  made 5 failure
  echo '{"format": 1, "set' >"$build/build.json"
  prune
  kept 1 4 5
}

@test "its image goes by ID, with the tags the build gave it; newer builds' tags stay" {
  made 1 failure
  image 1.0.0 main sha-1
  old=$image
  made 2 success
  image 1.0.1 main sha-2
  prune
  kept 2
  there "$image"
  there "127.0.0.1:1/$repository:main" "127.0.0.1:1/$repository:1.0.1" "127.0.0.1:1/$repository:sha-2"
  gone "$old"
  gone "127.0.0.1:1/$repository:1.0.0"
  gone "127.0.0.1:1/$repository:sha-1"
}

@test "images of earlier attempts and of test.target go too" {
  made 1 failure
  image
  first=$image
  image=$(echo 'FROM scratch' | "$DOCKER" build -q --label "unlike=$build.2" -)
  echo "$image" | tee -a "$build/image.built" >"$build/image.test"
  made 2 success
  prune
  kept 2
  gone "$first"
  gone "$image"
}

@test "an image that another build has stays, with its tags" {
  made 1 failure
  image 1.0.0 main
  other=${repository}-other
  made 2 success
  mkdir -p "$builds/$other"
  cp -a "$build" "$builds/$other/"
  echo "$image" >"$builds/$other/${build##*/}/image"
  prune
  kept 2
  there "$image" "127.0.0.1:1/$repository:1.0.0" "127.0.0.1:1/$repository:main"
}

@test "an image that somebody tagged stays, without the build's tags" {
  made 1 failure
  image 1.0.0 main
  mine=mine-$$-$BATS_TEST_NUMBER
  "$DOCKER" tag "$image" "$mine:prod"
  made 2 failure
  image # with no tag of ours at all, but one under our name that is not the build's
  "$DOCKER" tag "$image" "127.0.0.1:1/$repository:by-hand"
  made 3 success
  prune
  kept 3
  there "$mine:prod" "127.0.0.1:1/$repository:by-hand"
  gone "127.0.0.1:1/$repository:1.0.0"
  gone "127.0.0.1:1/$repository:main"
  "$DOCKER" rmi "$mine:prod" "127.0.0.1:1/$repository:by-hand"
}

@test "an image made FROM ours, with our labels, stays" {
  made 1 failure
  image 1.0.0
  child=$(printf 'FROM 127.0.0.1:1/%s:1.0.0\nENV child=1\n' "$repository" | "$DOCKER" build -q -)
  echo "$child" >>"$work/made-images"
  [[ $("$DOCKER" inspect -f '{{index .Config.Labels "unlike"}}' "$child") == "$build" ]]
  made 2 success
  prune
  kept 2
  there "$child"
}

@test "an image that a container uses stays, with its tags" {
  made 1 failure
  image 1.0.0 main
  "$DOCKER" create "$image" anything >"$work/containers"
  made 2 success
  prune
  kept 2
  there "$image" "127.0.0.1:1/$repository:1.0.0" "127.0.0.1:1/$repository:main"
  "$DOCKER" inspect "$(<"$work/containers")" >/dev/null
}

@test "a container that the build left goes, another build's and anybody else's stay" {
  made 1 failure
  image 1.0.0
  name=docker-build-server.${repository/\//.}
  "$DOCKER" create --name "$name.${build##*/}" "$image" anything >"$work/containers"
  made 2 success
  image
  "$DOCKER" create --name "$name.${build##*/}" "$image" anything >>"$work/containers"
  "$DOCKER" create --name "$name" "$image" anything >>"$work/containers"
  prune
  kept 2
  mapfile -t containers <"$work/containers"
  run "$DOCKER" inspect "${containers[0]}"
  [[ $status -eq 1 ]]
  "$DOCKER" inspect "${containers[@]:1}" >/dev/null
  gone "127.0.0.1:1/$repository:1.0.0"
}

@test "without an engine the images are left to the next time, and known" {
  made 1 failure
  image 1.0.0
  old=$image
  made 2 success
  DOCKER_HOST=unix:///nowhere fails 75 "the Docker engine does not answer" "$scripts/prune.sh" "$builds"
  [[ -f $builds/$repository/.pruned.20260101T000000.000001Z-1234567/image ]]
  prune
  kept 2
  gone "$old"
}

@test "one that was killed is gone on with" {
  made 1 failure
  image 1.0.0
  mv "$build" "${build%/*}/.pruned.${build##*/}"
  rm "${build%/*}/.pruned.${build##*/}/tags" # half gone
  made 2 success
  prune
  kept 2
  there "$image" # a tag of nobody we know of
  made 3 failure
  image 1.0.1
  made 4 success
  # A client that hangs: killed while it removes the image.
  printf '#!/bin/bash\n[[ $1 != rmi ]] || { touch %q && exec sleep 60; }\nexec %q "$@"\n' "$work/hangs" "$DOCKER" >"$work/docker"
  chmod +x "$work/docker"
  DOCKER=$work/docker setsid "$scripts/prune.sh" "$builds" 3>&- &
  until_true test -e "$work/hangs"
  kill -KILL -- "-$!"
  there "$image"
  prune
  kept 4
  gone "$image"
}

@test "two at once: the second leaves it to the first" {
  for number in 1 2; do made "$number" success; done
  mkdir -p "$builds/.cache"
  exec {lock}>"$builds/.cache/prune.lock"
  flock "$lock"
  prune
  kept 1 2
  exec {lock}>&-
  for _ in 1 2 3 4; do "$scripts/prune.sh" "$builds" 3>&- >>"$work/out" 2>&1 & done
  wait
  kept 2
  [[ $(grep -c removed "$work/out") -eq 1 && $(wc -l <"$work/out") -eq 1 ]]
}

@test "paths with spaces, quotes, brackets and digits are paths" {
  builds="$work/1/a \$(touch ran) 'b\" [c]*/context/.pruned.x"
  made 1 failure
  image 1.0.0
  made 2 success
  mkdir -p "$builds/.cache/git/context"/{a,b}.git
  touch "$builds/.cache/git/context"/{a,b}.git.lock
  CACHE_MAX=0 prune
  kept 2
  gone "$image"
  [[ ! $(ls -d "$builds/.cache/git/context"/*.git) && ! -e ran && ! -e $work/ran ]]
}

@test "what a stranger's script made read-only goes all the same" {
  run_as=(env DOCKER=true) # whoever does not own the engine's socket still owns the files
  [[ $EUID -ne 0 ]] || run_as+=(setpriv --reuid 65534 --regid 65534 --clear-groups)
  made 1 failure
  mkdir -p "$build/src/node_modules/a" && touch "$build/src/node_modules/a/b"
  chmod 555 "$build/src/node_modules/a" "$build/src/node_modules"
  made 2 failure
  made 3 success
  [[ $EUID -ne 0 ]] || { chmod a+rx "$BATS_RUN_TMPDIR" "$BATS_TEST_TMPDIR" "$work" && chown -R 65534 "$builds"; }
  "${run_as[@]}" "$scripts/prune.sh" "$builds"
  kept 3
}

@test "nothing outside is touched, whatever links lead there" {
  outside=$work/outside
  mkdir -p "$outside/folder" && echo precious | tee "$outside/file" >"$outside/folder/file"
  made 1 failure
  mkdir "$build/src"
  ln -s "$outside" "$build/src/link" && ln -s "$outside/file" "$build/src/file" && ln -s / "$build/src/root"
  ln -s "$outside/file" "$build/tags"
  chmod 555 "$build/src"
  made 2 success
  # A repository's folder, an owner's and a build that are links.
  real=$builds/$repository
  mkdir -p "$outside/owner"
  cp -a "$real" "$outside/owner/name"
  ln -s "$outside/owner/name" "$builds/${repository%/*}/linked"
  ln -s "$outside/owner" "$builds/linked"
  ln -s "$outside/owner/name/20260101T000000.000001Z-1234567" "$real/20250101T000000.000001Z-1234567"
  ln -s "$outside/owner/name/20260101T000000.000001Z-1234567" "$real/.pruned.20250101T000000.000001Z-1234567"
  # What a script of npm's can leave in its cache.
  mkdir -p "$builds/.cache"/{install/o/n,git/o,node_modules/o/n}
  for part in install/o/n/a git/o/a.git node_modules/o/n/a; do
    ln -s "$outside/folder" "$builds/.cache/$part"
    ln -s "$outside/made" "$builds/.cache/$part.lock"
  done
  touch "$builds/.cache/install/o/n.lock"
  find "$outside" -printf '%p %s %T@ %C@\n' | sort >"$work/before"
  CACHE_MAX=0 prune
  [[ ! -e $real/20260101T000000.000001Z-1234567 && ! -e $builds/.cache/install/o/n ]]
  find "$outside" -printf '%p %s %T@ %C@\n' | sort | diff "$work/before" -
}

@test "other files among the builds stay" {
  for number in 1 2; do made "$number" success; done
  mkdir -p "$builds/$repository/mine" "$builds/$repository/2026-notes" "$builds/mine" "$builds/.hidden/a/20260101T000000.000001Z-1234567"
  touch "$builds/$repository/state.json" "$builds/mine/file" "$builds/.pause"
  prune
  kept 2026-notes 2 mine
  [[ -e $builds/$repository/state.json && -L $builds/$repository/latest ]]
  [[ -e $builds/mine/file && -e $builds/.pause && -d $builds/.hidden/a/20260101T000000.000001Z-1234567 ]]
}

@test "caches go by size, the least lately used first, locked ones not at all" {
  cache=$builds/.cache
  n=0
  for part in node_modules/o/n/oldest git/o/old.git install/o/n git/o/new.git node_modules/o/n/newest; do
    mkdir -p "$cache/$part"
    head -c 1000000 /dev/zero >"$cache/$part/file"
    touch -d "2026-01-01 00:00:0$((n += 1))" "$cache/$part.lock"
  done
  mkdir -p "$cache/contexts/o"
  left() { (cd "$cache" && echo install/*/* node_modules/*/*/* git/*/*) | tr ' ' '\n' | grep -v '\.lock' | while read -r part; do [[ ! -d $cache/$part ]] || echo "$part"; done | sort | tr '\n' ' '; }
  CACHE_MAX=6000000 prune
  [[ $(left) == "git/o/new.git git/o/old.git install/o/n node_modules/o/n/newest node_modules/o/n/oldest " ]]
  exec {lock}>>"$cache/git/o/old.git.lock"
  flock -s "$lock"
  CACHE_MAX=3200000 prune
  [[ $(left) == "git/o/new.git git/o/old.git node_modules/o/n/newest " ]]
  [[ $output == *"removed .cache/install/o/n"* && $output != *old.git* ]]
  CACHE_MAX=0 prune
  [[ $(left) == "git/o/old.git " ]]
  # Measured once an hour: what has grown since is left.
  mkdir "$cache/install/o/n"
  CACHE_MAX=0 "$scripts/prune.sh" "$builds"
  [[ $(left) == *install* ]]
}

@test "what killed installs and plans left in the cache goes after a day" {
  mkdir -p "$builds/.cache"/{node_modules/o/n/x.tmp.1,node_modules/o/n/x.tmp.2,plan.a,plan.b}
  touch -d '2 days ago' "$builds/.cache"/{node_modules/o/n/x.tmp.1,plan.a}
  prune
  [[ $(cd "$builds/.cache" && echo node_modules/*/*/* plan.*) == "node_modules/o/n/x.tmp.2 plan.b" ]]
}

@test "caches of a form that is no longer used go" {
  old=$(printf '%064d' 1)
  mkdir -p "$builds/.cache"/{context,npm/_cacache,"node_modules/$old"/node_modules,node_modules/o/n}
  touch "$builds/.cache"/{npm.lock,"node_modules/$old.lock"}
  prune
  [[ ! -e $builds/.cache/context && ! -e $builds/.cache/npm && ! -e $builds/.cache/npm.lock ]]
  [[ $(ls "$builds/.cache/node_modules") == o && -d $builds/.cache/node_modules/o/n ]]
}

@test "docker.io, which the engine leaves away in names, is a registry as any other" {
  made 1 success
  image
  "$DOCKER" tag "$image" "$repository:1.0.0"
  echo 1.0.0 >"$build/tags"
  change '.settings.registry = "docker.io"'
  made 2 success
  prune
  kept 2
  gone "$image"
}

@test "an image that was fetched to compare a version goes with the build" {
  made 1 success
  image
  mv "$build/image" "$build/image.pulled"
  rm "$build/image.built"
  made 2 success
  prune
  gone "$image"
}

@test "in a folder that holds no builds nothing is touched" {
  mkdir -p "$work/other/.cache/plan.x"
  touch -d '3 days ago' "$work/other/.cache/plan.x"
  run --separate-stderr "$scripts/prune.sh" "$work/other"
  [[ $status -eq 0 && ! $output$stderr && $(ls -A "$work/other" "$work/other/.cache") == "$work/other:"$'\n'".cache"$'\n\n'"$work/other/.cache:"$'\n'"plan.x" ]]
}
