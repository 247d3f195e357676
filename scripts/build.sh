#!/usr/bin/env bash
# build.sh BUILD makes an image of the checkout, by docker build
#
# Reads     build.json, src/, labels
# Writes    image     the image ID
#           images/   a file for each image this build has made, named by its ID, for prune.sh
# Settings  context, dockerfile (in the checkout, else in the context), target, build_args
# TARGET=STAGE builds that stage instead, and leaves its ID in .test-image (so unit-test.sh does
# for `test.target`). BuildKit is used where the client has it; DOCKER_BUILDKIT=0 prefers the
# classic builder.
#
# Exit codes: 0 done, 1 it does not build, 2 called wrongly, 69 locked, 75 engine, network or disk
# trouble
set -euo pipefail
shopt -s inherit_errexit
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/lib/common.sh"

# choose_builder: adds to $options what the client's builder knows. A 20.10 client builds with
# BuildKit by itself, later ones need buildx: without it not even the help is there.
choose_builder() {
  local help

  export DOCKER_BUILDKIT=${DOCKER_BUILDKIT-1}

  # buildx: one plain image, by the engine itself; an attestation would be a second, untested
  # manifest.
  export BUILDX_NO_DEFAULT_ATTESTATIONS=1 BUILDX_BUILDER=${BUILDX_BUILDER-default}
  if [[ $DOCKER_BUILDKIT == 0 ]] || ! help=$(docker build --help 2>/dev/null); then
    DOCKER_BUILDKIT=0
    options+=(--force-rm) # else a failed build leaves its container behind
    return
  fi

  if [[ $help == *--progress* ]]; then # podman's has none
    options+=(--progress=plain)
  fi

  if [[ $help == *--metadata-file* ]]; then
    options+=(--metadata-file "$build/.metadata")
  fi
}

# explain: fails, with who is to blame that it did not build.
explain() {
  local unfetched='failed to (do request|solve.*(i/o timeout|toomanyrequests'
  unfetched+='|unexpected status (code|from [^ ]+ request to [^ ]+:) 5))'
  unfetched+='|^(error response from daemon: )?(get "[^"]*/v2/|toomanyrequests)'
  unfetched+='|TLS handshake timeout'
  need_engine
  if full_disk; then
    fail 75 "the disk is full (docker system df shows by what)"
  fi

  if said "$unfetched"; then
    fail 75 "a base image could not be fetched (docker's reason is above)"
  fi

  fail 1 "$dockerfile does not build (docker's reason is above)"
}

open_build "$@"
context=$(<"$build/settings/context")
dockerfile=$(<"$build/settings/dockerfile")
target=${TARGET:-$(setting target)}
result=image
if [[ ${TARGET-} ]]; then
  result=.test-image
fi

rm -f -- "$build/$result" "$build/.iid" "$build/.metadata" # of an earlier run: this one may fail

need src
inside "$context" "$dockerfile" "$context/$dockerfile" "$context/.dockerignore"
if [[ ! -f $build/src/$dockerfile ]]; then
  dockerfile=$context/$dockerfile
fi

if [[ ! -f $build/src/$dockerfile ]]; then
  fail 1 "no ${dockerfile##*/} in src/$context (set \"dockerfile\" in config.json)"
fi

if [[ ! -d $build/src/$context ]]; then
  fail 1 "the repository has no folder $context (see \"context\" in config.json)"
fi

need labels # not before: the pipeline asks early whether there is a Dockerfile
mapfile -t labels <"$build/labels"

# BuildKit looks for other files in the Dockerfile's folder alone, where a symbolic link may not
# lead.
options=(--iidfile "$build/.iid" --file "$(realpath -- "$build/src/$dockerfile")")
options+=("${labels[@]/#/--label=}")
for file in "$build"/settings/build_args/*; do
  if [[ -f $file ]]; then
    options+=("--build-arg=${file##*/}=$(<"$file")")
  fi
done

if [[ $target ]]; then
  options+=(--target "$target")
fi

choose_builder
SOURCE_DATE_EPOCH=$(git -C "$build/src" show -s --format=%ct)
export SOURCE_DATE_EPOCH

# The engine keeps a copy of a context under the path it came from, and takes over what changed: 0.2
# s less with 5,000 files. Hence one path for all builds of a repository, theirs in turn.
link=$cache/context/$entry
lock_cache "$link"
if ! ln -sfn -- "$build/src/$context" "$link.tmp" || ! mv -T -- "$link.tmp" "$link"; then
  fail 75 "cannot write ${link%/*} (is the disk full?)"
fi

echo "build.sh: $dockerfile${target:+, stage $target}"
watch docker build "${options[@]}" -- "$link/" || explain
id=$(<"$build/.iid")
# buildx writes the digest of the configuration; an engine that keeps images in containerd (Docker
# 29's default) knows them by their manifest's.
if [[ -f $build/.metadata ]] && ! docker image inspect -- "$id" >/dev/null 2>&1; then
  id=$(jq -r '."containerimage.digest" // ""' -- "$build/.metadata")
  docker image inspect -- "$id" >/dev/null \
    || fail 75 "the engine does not know the image it has just built" \
      "(BUILDX_BUILDER must be one that loads it)"
fi

mkdir -p -- "$build/images"
leave "images/$id" ''
leave "$result" "$id"$'\n'
rm -f -- "$build/.iid" "$build/.metadata"
