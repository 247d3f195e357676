#!/usr/bin/env bash
# tag-push.sh BUILD: the tested image into the registry, under each of the build's tags
#
# Reads     build.json, version, tags, image, tested
# Writes    pushed   NAME:TAG@sha256:DIGEST, one a line, as the registry confirmed them
# Settings  registry, image: together the NAME. Credentials are those of `docker login`.
# Only the image that was tested is pushed. A full version is never overwritten: with the same image behind it
# the rest is completed; from the same commit as another image, that one stays and gets the rest; from another commit, the push fails.
# An alias (1.2, 1, latest) is not moved below a version it already points to.
# Cut off half-way, it is completed by running it again.
#
# Exit codes: 0 pushed, 1 refused, 2 called wrongly, 69 locked, 75 the registry or the engine
set -euo pipefail
shopt -s inherit_errexit
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/lib/common.sh"
open_build "$@"
read_build commit settings.{registry,image}
name=$registry/$image
need version tags image tested
image=$(<"$build/image")
version=$(<"$build/version")
mapfile -t tags <"$build/tags"
read -r tested <"$build/tested"
[[ $tested == "$image" ]] || fail 1 "the image $image is not the one that was tested, $tested (run unit-test.sh again)"

# fetch TAG: true with the registry's image of that tag at hand: its ID here in $theirs, with its tags in $names and its
# labels in $revision and $served; its $digest there. False if it has none; not being able to tell is neither.
fetch() {
  local said here
  theirs='' names='' revision='' served='' digest=''
  exec {here}< <(about "$1" 2>/dev/null) # told meanwhile, for it may be the one the engine has
  if said=$(docker pull "$name:$1" 2>&1); then
    [[ $said == *"Image is up to date"* ]] || exec {here}< <(about "$1")
    { read -r theirs && read -r names && read -r revision && read -r served; } <&"$here" || true
    [[ $theirs ]] || fail 75 "the engine does not tell of $name:$1, which it has just fetched (see: docker image inspect)"
    echo "$theirs" >>"$build/image.pulled" # prune.sh removes what was fetched
    [[ ! $said =~ Digest:\ (sha256:[0-9a-f]{64}) ]] || digest=${BASH_REMATCH[1]}
    return
  fi
  [[ ! $said =~ (manifest|name)\ unknown|not\ found$ ]] || return 1
  local advice="is it up? is \"registry\" in config.json right?"
  [[ ! $said =~ denied|unauthorized|no\ basic\ auth|insufficient_scope|401|403 ]] || advice="docker login; some want the repository created first"
  fail 75 "cannot ask the registry for $name:$1: ${said##*$'\n'} ($advice)"
}

# about TAG: what the engine has under it: ID, tags, and two labels, where there are labels. (podman knows {{.Id}} as it is.)
about() {
  local label='{{println (index . "org.opencontainers.image'
  docker image inspect --format "{{.Id}}{{println}}{{println .RepoTags}}{{with .Config.Labels}}$label.revision\")}}$label.version\")}}{{end}}" "$name:$1"
}

# same: is the image that was fetched the one to push? (podman's IDs are bare)
same() { [[ ${theirs#sha256:} == "${image#sha256:}" ]]; }

# tag TAG...: the image, here, unless it is among the tags it has.
tag() {
  local tag
  for tag; do
    [[ $has == *" $name:$tag "* ]] || docker tag "$image" "$name:$tag" \
      || fail 75 "cannot tag $image (docker's reason is above; image gone: build.sh again)"
  done
}

# push TAG...: side by side; and note the digest the registry answers with.
push() {
  local tag
  local -a pids=()
  for tag; do
    docker push "$name:$tag" 2>&1 | tee -- "$build/.push.$tag" &
    pids+=("$!")
  done
  for tag; do
    wait "${pids[0]}" && { [[ $(<"$build/.push.$tag") =~ digest:\ (sha256:[0-9a-f]{64}) ]] || told_by_file "$tag"; } \
      || { wait && fail 75 "cannot push $name:$tag (docker's reason is above; credentials: docker login; image gone: build.sh again)"; }
    digests[$tag]=${BASH_REMATCH[1]}
    pids=("${pids[@]:1}")
  done
}

# told_by_file TAG: podman prints no digest.
told_by_file() {
  docker push --quiet --digestfile "$build/.push.$1" "$name:$1" >/dev/null && [[ $(<"$build/.push.$1") =~ ^(sha256:[0-9a-f]{64})$ ]]
}

echo "tag-push.sh: $image as $name, ${tags[*]}"
rm -f -- "$build/pushed"
full=${tags[0]-} has='' own=() aliases=()
declare -A digests=() # of the tags that the registry has confirmed
# Without a {version} in `publish` nothing is pushed that has to stay as it is.
if [[ $full == *"${version//+/-}"* ]] && fetch "$full"; then
  if ! same; then
    [[ $revision == "$commit" ]] \
      || fail 1 "$name:$full is there already, from another commit, and a version is never overwritten (tag a new one)"
    # A build cut off while it pushed, say, and built again: other tags must not point to another image.
    echo "tag-push.sh: $name:$full is there already, from the same commit; that image is left, and gets the other tags"
    image=$theirs
  fi
  has=" ${names//[][]/ } "
  [[ ! $digest ]] || digests[$full]=$digest
fi
for tag in "${tags[@]}"; do
  if [[ ${digests[$tag]-} ]]; then
    continue
  elif [[ ! $tag =~ ^([0-9]+(\.[0-9]+)?|latest)$ ]]; then
    own+=("$tag")
  elif ! fetch "$tag"; then
    aliases+=("$tag")
  elif [[ $served =~ ^[0-9]+\.[0-9]+\.[0-9]+$ && $served != "$version" && $(printf '%s\n' "$served" "$version" | sort -V | tail -n 1) == "$served" ]]; then
    echo "tag-push.sh: $name:$tag stays at $served, which is higher than $version"
  elif same && [[ $digest ]]; then
    digests[$tag]=$digest
  else
    has=${has/" $name:$tag "/ } # to fetch it has moved it
    aliases+=("$tag")
  fi
done
# The layers go with the first one, unless they are there; after that a push is a question and an answer.
first=1
[[ ${#digests[@]} -eq 0 ]] || first=0
tag "${own[@]:0:first}"
tag "${own[@]:first}" "${aliases[@]}" &
tagging=$!
push "${own[@]:0:first}"
wait "$tagging" || exit
push "${own[@]:first}"
for tag in "${aliases[@]}"; do push "$tag"; done
pushed=''
for tag in "${tags[@]}"; do [[ ! ${digests[$tag]-} ]] || pushed+=$name:$tag@${digests[$tag]}$'\n'; done
leave pushed "$pushed"
rm -f -- "$build"/.push.*
