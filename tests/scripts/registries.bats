#!/usr/bin/env bats
# tag-push.sh before registries that refuse as hosted ones do: a real one, behind gate.py.

load ../support/helper

setup() {
  common_setup
  real=$REGISTRY
}

teardown() {
  end_jobs
  "$DOCKER" images -q --filter "reference=*/$repository" | sort -u | xargs -r "$DOCKER" rmi -f >/dev/null 2>&1 || true
}

pushes() {
  run "$scripts/tag-push.sh" "$build"
  [[ $status -eq 0 ]] || { echo "$output" && return 1; }
}

# served TAG: the digest under it in the real registry.
served() {
  curl -sfI -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' "http://$real/v2/$repository/manifests/$1" \
    | tr -d '\r' | sed -n 's/^docker-content-digest: //Ip'
}

# are_pushed TAG...: these alone are noted, in this order.
are_pushed() {
  [[ $(sed -E 's/^.*:([^:]+)@.*$/\1/' "$build/pushed" | xargs) == "$*" ]] || { cat "$build/pushed" && return 1; }
}

try_immutable() {
  gate "immutable=$1"
  built 1.0.0 aaaaaaaa 1.0.0 main sha-aaaaaaa 1.0 latest
  pushes
  are_pushed 1.0.0 main sha-aaaaaaa 1.0 latest
  first=$(served 1.0.0)

  # The same build once more, and another image of the same commit.
  pushes
  are_pushed 1.0.0 main sha-aaaaaaa 1.0 latest
  built 1.0.0 aaaaaaaa 1.0.0 main sha-aaaaaaa 1.0 latest
  pushes
  are_pushed 1.0.0 main sha-aaaaaaa 1.0 latest
  [[ $(served 1.0.0) == "$first" ]]

  # The next release: what is new is there, what would have to move stays, in one line.
  built 1.0.1 bbbbbbbb 1.0.1 main sha-bbbbbbb 1.0 latest
  for _ in once again; do
    pushes
    are_pushed 1.0.1 sha-bbbbbbb
    line="tag-push.sh: immutable tags of $REGISTRY/$repository stay where they are: main 1.0 latest"
    [[ ${lines[-1]} == "$line (leave them out of \"publish\")" && $(grep -c immutable <<<"$output") -eq 1 ]] || { echo "$output" && return 1; }
    [[ $(served latest) == "$first" && $(served main) == "$first" && $(served 1.0.1) != "$first" ]]
  done

  # Another commit never gets that version.
  built 1.0.1 cccccccc 1.0.1 main
  run "$scripts/tag-push.sh" "$build"
  [[ $status -eq 1 && ${lines[-1]} == *"from another commit, and a version is never overwritten"* ]]
}

@test "immutable tags as ECR has them: a release is published, aliases stay, and the build is green" { try_immutable ecr; }
@test "immutable tags as Harbor has them" { try_immutable harbor; }
@test "immutable tags as Google's registry has them" { try_immutable google; }
@test "immutable tags as Quay has them" { try_immutable quay; }

@test "a build whose every tag is immutable and taken has published nothing, and is told so" {
  gate immutable=ecr
  built 1.0.0 aaaaaaaa main
  pushes
  built 1.0.1 bbbbbbbb main
  run "$scripts/tag-push.sh" "$build"
  [[ $status -eq 75 && -e $build/.lasting && ! -s $build/pushed ]]
  [[ ${lines[-1]} == "tag-push.sh: nothing could be published: immutable tags of $REGISTRY/$repository stay where they are: main "'(put "{version}" into "publish")' ]]
  # With another tag the layers go with that.
  printf '%s\n' main edge latest >"$build/tags"
  pushes
  are_pushed edge latest
}

@test "a name of a person's own that is immutable is refused in words" {
  gate immutable=harbor
  built 1.0.0 aaaaaaaa 1.0.0 production
  pushes
  built 1.0.1 bbbbbbbb 1.0.1
  pushes
  name=$REGISTRY/$repository
  fails 75 "retag.sh: the registry refuses $name:production: " "$scripts/retag.sh" "$name@$(served 1.0.1)" production
  [[ $stderr == *"configured as immutable. (may this user move it?)" && $(served production) == "$(served 1.0.0)" ]]
}

@test "an answer that is lost: the version is there after all, and the push is completed" {
  gate immutable=ecr
  built 1.0.0 aaaaaaaa 1.0.0 main
  # The client pushes, and then once more, as it had no answer.
  printf '#!/bin/sh\n[ "$1" != push ] || "%s" "$@" >/dev/null\nexec "%s" "$@"\n' "$DOCKER" "$DOCKER" >"$work/docker"
  chmod +x "$work/docker"
  DOCKER=$work/docker pushes
  are_pushed 1.0.0 main
}

@test "a registry that answers 401 or 403 for a tag that is not there" {
  for answer in 401 403; do
    REGISTRY=$real
    gate "listed=$answer"
    built "1.0.$answer" "${answer}aaaaa" "1.0.$answer" main "sha-${answer}aaaa" latest
    for _ in once again; do
      pushes
      are_pushed "1.0.$answer" main "sha-${answer}aaaa" latest
    done
    grep -q "GET /v2/$repository/manifests/1.0.$answer $answer" "$work/gate.log"
  done
}

try_hidden() {
  gate "hidden=$1"
  built 1.0.0 aaaaaaaa 1.0.0 main sha-aaaaaaa latest
  for _ in once again; do
    pushes
    are_pushed 1.0.0 main sha-aaaaaaa latest
  done
  grep -q "GET /v2/$repository/tags/list $1" "$work/gate.log"
  first=$(served 1.0.0)

  # Now the repository is there, and what it lacks is told by its list.
  built 1.0.1 bbbbbbbb 1.0.1 main sha-bbbbbbb latest
  pushes
  are_pushed 1.0.1 main sha-bbbbbbb latest
  [[ $(served 1.0.0) == "$first" && $(served latest) == "$(served 1.0.1)" ]]
  built 1.0.1 cccccccc 1.0.1 main sha-ccccccc
  run "$scripts/tag-push.sh" "$build"
  [[ $status -eq 1 && ${lines[-1]} == *"from another commit, and a version is never overwritten"* && ! $(served sha-ccccccc) ]]
}

@test "a registry that hides by 401 a repository that is not there gets its first push" { try_hidden 401; }
@test "a registry that hides by 403 a repository that is not there gets its first push" { try_hidden 403; }

@test "a hidden repository gets nothing that might overwrite a version: without a tag of the commit's it is to be created" {
  gate hidden=403
  built 1.0.0 aaaaaaaa 1.0.0 latest
  run "$scripts/tag-push.sh" "$build"
  [[ $status -eq 75 && -e $build/.lasting && ! -e $build/pushed ]]
  [[ ${lines[-1]} == "tag-push.sh: cannot ask the registry for $REGISTRY/$repository:1.0.0: "*'(docker login? If the repository is not there yet, create it, or have "sha-{sha}" in "publish")' ]]
  [[ ! $(in_registry "$repository") ]]
}

@test "a cache in a registry that hides what is not there: the first build starts without it" {
  for answer in 401 403; do
    REGISTRY=$real
    gate "hidden=$answer"
    sample app
    configure app "{\"cache\": \"registry\", \"image\": \"$repository-$answer\", \"test\": {\"command\": [\"true\"]}}"
    stage
    steps clone npm-install version build unit-test tag-push
    [[ $(REGISTRY=$real in_registry "$repository-$answer") == *main* ]]
    grep -q "/v2/$repository-$answer/manifests/main $answer" "$work/gate.log"
    rm -rf "$work/app"
  done
}

# A helper as those of cloud registries: its tokens end, and it has another one then. It gives one
# that has ended as long as $work/stale is there.
helper() {
  mkdir -p "$work/bin" "$work/config"
  cat >"$work/bin/docker-credential-ours" <<'END'
#!/bin/sh
here=$(dirname "$(dirname "$(realpath "$0")")")
echo "$1" >>"$here/asked"
token=$(cat "$here/token")
[ ! -e "$here/stale" ] || token=ended
read -r server
printf '{"ServerURL": "%s", "Username": "AWS", "Secret": "%s"}\n' "$server" "$token"
END
  chmod +x "$work/bin/docker-credential-ours"
  jq -n --arg registry "$REGISTRY" '{credHelpers: {($registry): "ours"}}' >"$work/config/config.json"
  export DOCKER_CONFIG=$work/config
  PATH=$work/bin:$PATH
}

@test "a credential helper whose token ends: each build gets a fresh one" {
  echo first >"$work/token"
  gate "token=$work/token"
  helper
  built 1.0.0 aaaaaaaa 1.0.0 main sha-aaaaaaa
  pushes
  grep -q 'PUT .*/manifests/main 201' "$work/gate.log"

  # The token of then is refused now, in the middle of another build: that is no lasting refusal.
  built 1.0.1 bbbbbbbb 1.0.1 main sha-bbbbbbb
  touch "$work/stale"
  run "$scripts/tag-push.sh" "$build"
  [[ $status -eq 75 && ! -e $build/.lasting && ${lines[-1]} == *"expired"* ]] || { echo "$output" && return 1; }

  echo second >"$work/token"
  rm "$work/stale"
  pushes
  are_pushed 1.0.1 main sha-bbbbbbb
  [[ $(served main) == "$(served 1.0.1)" ]]
  grep -qx get "$work/asked"
}

@test "a build whose token ends while it pushes goes on with the next one, and is green where tags are immutable" {
  echo token >"$work/token"
  gate "token=$work/token" immutable=ecr
  helper
  sample app
  configure app
  for change in one two; do
    commit app change "$change"
    stage
    touch "$work/stale"
    { until_true grep -qs expired "$build/console.log" && rm "$work/stale"; } &
    run "$scripts/pipeline.sh" "$build"
    jq -e '.status == "success" and .steps[-1].attempts > 1' "$build/result.json" || { echo "$output" && return 1; }
  done
  are_pushed "$(<"$build/version")" "sha-$(jq -r '.commit[:7]' "$build/build.json")"
  [[ $output == *"stay where they are: main (leave them out"* ]]
}
