# stage.sh: what it stages, under which name, and what it refuses.

setup() {
  load ../support/helper
  common_setup
}

# settled URL [JSON]: the settings, so that no Python has to be asked.
settled() {
  SETTINGS=$(jq -cn --arg builds "$work/builds" --arg url "$1" --argjson more "${2:-{\}}" '{$builds, settings: ({$url} + $more)}')
  export SETTINGS
}

# staged KEY: of $build.
staged() { jq -r ".$1" "$build/build.json"; }

# head NAME [REV]
head() { git -C "$work/$1" rev-parse "${2-HEAD}"; }

# nothing_staged: no build, and no folder where one could have been.
nothing_staged() { [[ ! -e $work/builds ]]; }

unborn=1234567890abcdef1234567890abcdef12345678

@test "-h prints the manual" {
  run --separate-stderr "$scripts/stage.sh" -h
  [[ $status -eq 0 && $output == "stage.sh OWNER/NAME [REF [COMMIT]]"*"Exit codes: 0 staged"* && ! $stderr ]]
}

@test "anything but OWNER/NAME [REF [COMMIT]] is refused in one line, and leaves nothing" {
  settled "file://$work/app"
  for arguments in "" "a b c d" "name" "/name" "owner/" "a/b/c" "../x" "x/.." "x/." "-x/y" ".x/y" "--help" "o/n?" "o//n"; do
    read -ra arguments <<<"$arguments"
    fails 2 "usage: stage.sh OWNER/NAME" "$scripts/stage.sh" "${arguments[@]}"
    [[ $stderr != *$'\n'* && ! $output ]]
  done
  for name in $'o/n\n' $'o/\tn' $'o/n\e[1m' 'o/n x' 'o/$(touch x)' 'o/`x`' "o/'n'" 'o/"n"' 'o/nå' $'o/n\u202e'; do
    fails 2 "usage: stage.sh OWNER/NAME" "$scripts/stage.sh" "$name"
  done
  nothing_staged
}

@test "a ref that is none is refused in one line, and leaves nothing" {
  settled "file://$work/app"
  for ref in -x --normalize -h 'a b' 'a..b' ../x /x x/ 'x.lock' '.x' 'a~1' 'a^' 'a:b' 'a*' 'a?' 'a[' 'a\b' '@{x' $'a\nb' $'a\e' $'a\t' 'x//y' 'refs/heads/../x'; do
    fails 2 'is no name of a ref' "$scripts/stage.sh" o/n "$ref" "$unborn"
    [[ $stderr == "stage.sh: "* && $output == "" ]]
  done
  for commit in main 1234567 "${unborn^^}" "${unborn}0" " $unborn" "$unborn"$'\n'; do
    fails 2 'is no commit' "$scripts/stage.sh" o/n refs/heads/main "$commit"
  done
  nothing_staged
}

@test "a repository that is not configured is refused, and leaves nothing" {
  configure app
  fails 2 "some/other is not configured" env CONFIG="$work/config.json" "$scripts/stage.sh" some/other refs/heads/main "$unborn"
  nothing_staged
}

@test "a configuration that is wrong or missing is exit 1, and leaves nothing" {
  echo '{"registry": "127.0.0.1:1", "repositories": {"o/n": {"branchs": []}}}' >"$work/config.json"
  fails 1 'branchs: ' env CONFIG="$work/config.json" "$scripts/stage.sh" o/n
  fails 1 missing.json env CONFIG="$work/missing.json" "$scripts/stage.sh" o/n
  nothing_staged
}

@test "settings from a caller that are none are exit 2, and leave nothing" {
  cd "$work"
  for settings in 'no json' '{}' '[]' '{"builds": 1}' '{"settings": {"url": "x"}}' '{"builds": "/nowhere", "settings": {}}' '"x"'; do
    fails 2 SETTINGS env SETTINGS="$settings" "$scripts/stage.sh" o/n refs/heads/main "$unborn"
  done
  [[ ! $(ls -A "$work") ]]
}

@test "without a ref it is the default branch" {
  repository app
  git -C "$work/app" checkout -q -b trunk
  commit app new file
  configure app
  stage
  [[ $(staged ref) == refs/heads/trunk && $(staged commit) == $(head app) ]]
}

@test "HEAD is the default branch, by its full name" {
  repository app
  configure app
  stage HEAD
  [[ $(staged ref) == refs/heads/main && $(staged commit) == $(head app) ]]
}

@test "the default branch of a remote that is itself a clone is its own" {
  repository origin
  git clone -q "$work/origin" "$work/app"
  git -C "$work/app" checkout -q -b mine
  settled "file://$work/app"
  stage
  [[ $(staged ref) == refs/heads/mine ]]
}

@test "a short name is found as branch or tag, and stands in build.json in full" {
  repository app
  settled "file://$work/app"
  git -C "$work/app" branch feature/x
  git -C "$work/app" tag light
  commit app new file
  git -C "$work/app" branch other/feature/x
  for ref in main feature/x light; do
    stage "$ref"
    [[ $(staged ref) == refs/*s/$ref && $(staged commit) == $(head app "$ref") ]]
  done
  stage refs/heads/feature/x
  [[ $(staged ref) == refs/heads/feature/x && $(staged commit) == $(head app feature/x) ]]
}

@test "an annotated tag is the commit it stands for, also a tag of a tag" {
  repository app
  settled "file://$work/app"
  git -C "$work/app" "${git_identity[@]}" tag -a -m one v1.0.0
  git -C "$work/app" "${git_identity[@]}" tag -a -m two v1 v1.0.0
  for ref in v1.0.0 refs/tags/v1.0.0 v1; do
    stage "$ref"
    [[ $(staged ref) == refs/tags/${ref#refs/tags/} && $(staged commit) == $(head app) ]]
  done
}

@test "a name that is both branch and tag has to be said in full" {
  repository app
  settled "file://$work/app"
  git -C "$work/app" branch both
  commit app new file
  git -C "$work/app" tag both
  fails 1 'has both a branch and a tag both (say refs/heads/both or refs/tags/both)' "$scripts/stage.sh" o/n both
  nothing_staged
  stage refs/heads/both
  [[ $(staged commit) == $(head app HEAD~) ]]
  stage refs/tags/both
  [[ $(staged commit) == $(head app) ]]
}

@test "a ref that the remote does not have is exit 1, in one line" {
  repository app
  git -C "$work/app" branch a/missing
  settled "file://$work/app"
  for ref in missing refs/heads/missing refs/tags/main heads/main 1234567; do
    fails 1 "o/n has no branch or tag $ref" "$scripts/stage.sh" o/n "$ref"
    [[ $stderr != *$'\n'* ]]
  done
  nothing_staged
}

@test "a remote without a commit is exit 1, in one line" {
  git init -q --bare "$work/app"
  settled "file://$work/app"
  fails 1 "has no commit on a default branch yet" "$scripts/stage.sh" o/n
  [[ $stderr != *$'\n'* ]]
  fails 1 "has no branch or tag main" "$scripts/stage.sh" o/n main
  [[ $stderr != *$'\n'* ]]
  nothing_staged
}

@test "a remote that cannot be reached is exit 75" {
  for url in "file://$work/nothing" http://127.0.0.1:1/o/n.git; do
    settled "$url"
    fails 75 "cannot read $url" "$scripts/stage.sh" o/n main
  done
  nothing_staged
}

@test "a full ref and its commit, or a bare commit, ask nothing of the network" {
  settled http://127.0.0.1:1/o/n.git
  stage refs/heads/main "$unborn"
  [[ $(staged ref) == refs/heads/main && $(staged commit) == "$unborn" && $build == *Z-1234567 ]]
  stage "$unborn"
  [[ $(staged ref) == "$unborn" && $(staged commit) == "$unborn" ]]
  stage refs/heads/main "$unborn${unborn:0:24}" # as SHA-256 repositories have them
  [[ $(staged commit) == "$unborn${unborn:0:24}" ]]
}

@test "a short ref with a commit is that commit, under the ref's full name" {
  repository app
  commit app new file
  settled "file://$work/app"
  stage main "$(head app HEAD~)"
  [[ $(staged ref) == refs/heads/main && $(staged commit) == $(head app HEAD~) ]]
}

@test "a bare commit that contradicts COMMIT is refused" {
  settled http://127.0.0.1:1/o/n.git
  fails 2 "is another commit than" "$scripts/stage.sh" o/n "$unborn" "${unborn//1/2}"
  nothing_staged
}

@test "names of refs that a shell would run or split are names" {
  settled http://127.0.0.1:1/o/n.git
  cd "$work"
  for ref in 'refs/heads/$(touch${IFS}x)' 'refs/heads/`touch`' "refs/heads/it's" 'refs/heads/"q"' 'refs/heads/-x' 'refs/heads/a;b&c|d>e' \
    'refs/heads/日本🎉' 'refs/heads/%s%n' "refs/heads/$(printf 'x%.0s' {1..4000})" $'refs/heads/\u202eevil'; do
    stage "$ref" "$unborn"
    [[ $(staged ref) == "$ref" ]]
  done
  [[ $(ls -A) == builds && $(ls -A builds) == test ]]

  repository app
  settled "file://$work/app"
  for ref in '$(touch${IFS}x)' "it's" '日本🎉' '"q"' 'a]b}{' '`x`'; do
    git -C app branch "$ref"
    stage "$ref"
    [[ $(staged ref) == "refs/heads/$ref" && $(staged commit) == $(head app) ]]
  done
  [[ $(ls -A) == $'app\nbuilds' ]]
}

@test "build.json has the keys that are documented, and the caller's facts in them" {
  settled http://127.0.0.1:1/o/n.git '{"repository": "true/name", "context": "."}'
  stage refs/heads/main "$unborn"
  [[ $(jq -c keys_unsorted "$build/build.json") == '["format","id","repository","url","ref","commit","before","event","source","staged_at","settings"]' ]]
  [[ $(jq -c 'del(.staged_at)' "$build/build.json") == "$(jq -cn --arg id "${build##*/}" --arg repository "$repository" --arg commit "$unborn" --argjson resolved "$SETTINGS" '
    {format: 1, $id, $repository, url: "http://127.0.0.1:1/o/n.git", ref: "refs/heads/main", $commit, before: null, event: null, source: "manual", settings: $resolved.settings}')" ]]
  [[ $(($(date +%s) - $(date -d "$(staged staged_at)" +%s))) -lt 20 ]]

  export SOURCE=event EVENT='1"2' BEFORE=${unborn//1/2}
  stage refs/heads/main "$unborn"
  [[ $(jq -c '[.source, .event, .before]' "$build/build.json") == '["event","1\"2","'"$BEFORE"'"]' ]]
}

@test "it prints the build's path alone, links latest to it and leaves nothing half-made" {
  settled http://127.0.0.1:1/o/n.git
  run --separate-stderr "$scripts/stage.sh" o/n refs/heads/main "$unborn"
  [[ $status -eq 0 && ! $stderr && ${#lines[@]} -eq 1 && $output == "$work/builds/o/n/"* ]]
  [[ $(realpath "$work/builds/o/n/latest") == "$output" && $(readlink "$work/builds/o/n/latest") == "${output##*/}" ]]
  [[ $(ls -A "$work/builds/o/n") == ".lock"$'\n'"${output##*/}"$'\n'latest && $(ls "$output") == $'build.json\nsettings' ]]
  [[ ${output##*/} =~ ^[0-9]{8}T[0-9]{6}\.[0-9]{6}Z-1234567$ ]]
  first=$output
  run --separate-stderr "$scripts/stage.sh" o/n refs/heads/main "$unborn"
  [[ $(realpath "$work/builds/o/n/latest") == "$output" && $output != "$first" ]]
}

@test "what a run that was killed left half-made is no build, and is cleared" {
  settled http://127.0.0.1:1/o/n.git
  mkdir -p "$work/builds/$repository/.staging/build.json" "$work/builds/$repository/.latest"
  rmdir "$work/builds/$repository/.latest" && ln -s nowhere "$work/builds/$repository/.latest"
  stage refs/heads/main "$unborn"
  [[ $(ls -A "$work/builds/$repository") == ".lock"$'\n'"${build##*/}"$'\n'latest ]]
}

@test "an ID sorts above the newest even if the clock goes back" {
  settled http://127.0.0.1:1/o/n.git
  folder=$work/builds/$repository
  for newest in 20991231T235959.999999Z-fffffff 21000101T000000.099999Z-0000000; do
    mkdir -p "$folder/$newest"
    stage refs/heads/main "$unborn"
    [[ ${build##*/} > $newest ]]
  done
  [[ ${build##*/} == 21000101T000000.100000Z-1234567 ]]
}

@test "other folders among the builds do not lead the clock astray" {
  settled http://127.0.0.1:1/o/n.git
  repository=test/9TilesZ-up # and its own name neither
  folder=$work/builds/$repository
  mkdir -p "$folder/2TinyZ-things" "$folder/99990101Tmine" "$folder/9999Told.Z-" "$folder/.pruned.99991231T235959.000000Z-fffffff"
  stage refs/heads/main "$unborn"
  [[ ${build##*/} == 20* ]]
}

@test "ten at once get ten IDs, in the order they appear" {
  settled http://127.0.0.1:1/o/n.git
  for n in {1..10}; do
    "$scripts/stage.sh" o/n refs/heads/main "$unborn" >"$work/$n" 2>&1 &
  done
  wait
  [[ $(cat "$work"/{1..10} | sort -u | wc -l) -eq 10 ]]
  [[ $(find "$work/builds/o/n" -name build.json | wc -l) -eq 10 ]]
  [[ $(realpath "$work/builds/o/n/latest") == "$(cat "$work"/{1..10} | sort | tail -n 1)" ]]
  for file in "$work"/builds/o/n/*/build.json; do jq -e .settings "$file" >"$work/parsed"; done
}

@test "paths with spaces, quotes and dollars are paths" {
  work="$work/it's a \"\$HOME\" \`x\` *"
  mkdir -p "$work"
  repository app
  configure app
  stage main
  [[ $build == "$work/builds/$repository/"* && $(staged commit) == $(head app) ]]
  BUILDS="$work/else where" stage main
  [[ $build == "$work/else where/$repository/"* ]]
  cd "$work"
  BUILDS="relative to here" stage main
  [[ $build == "$work/relative to here/$repository/"* && -d $build ]]
}

@test "a builds folder that cannot be written is exit 75, in the script's own words" {
  : >"$work/builds"
  settled http://127.0.0.1:1/o/n.git
  fails 75 "stage.sh: cannot write $work/builds" "$scripts/stage.sh" o/n refs/heads/main "$unborn"
}

@test "a variable named build in the environment is not written to" {
  mkdir "$work/mine"
  settled "http://127.0.0.1:1/o/n.git"
  build=$work/mine fails 2 'usage' "$scripts/stage.sh"
  export build=$work/mine
  fails 2 'usage' "$scripts/stage.sh"
  [[ ! $(ls -A "$work/mine") ]]
}

@test "it finds its parts through a symbolic link, and from its own folder" {
  ln -s "$scripts/stage.sh" "$work/link"
  run -2 --separate-stderr "$work/link"
  [[ $stderr == "link: usage: "* ]]
  cd "$scripts" || return
  run -2 --separate-stderr bash stage.sh
  [[ $stderr == "stage.sh: usage: "* ]]
}

@test "what nobody has foreseen is temporary, so that a poller asks again" {
  settled http://127.0.0.1:1/o/n.git
  mkdir "$work/bin"
  printf '#!/bin/sh\nexit 1\n' >"$work/bin/realpath" && chmod +x "$work/bin/realpath"
  PATH=$work/bin:$PATH run -75 "$scripts/stage.sh" o/n refs/heads/main "$unborn"
  [[ ! -e $work/builds/o/n/latest ]]
}
