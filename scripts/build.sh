#!/usr/bin/env bash
# build.sh BUILD: docker build of the checkout
#
# Reads     build.json, src/, labels
# Writes    image   the image ID
# Settings  context, dockerfile (in the checkout, else in the context), target, build_args
# TARGET=STAGE builds that stage instead, and leaves its ID in image.STAGE (so unit-test.sh does for `test.target`).
# BuildKit is used where the client has it; DOCKER_BUILDKIT=0 prefers the classic builder.
#
# Exit codes: 0 done, 1 it does not build, 2 called wrongly, 69 locked, 75 engine, network or disk trouble
set -euo pipefail
shopt -s inherit_errexit
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/lib/common.sh"
open_build "$@"
# What the client's builder knows, told while the rest is made ready.
exec {help}< <(exec {LOCK_FD}>&- && DOCKER_BUILDKIT=1 docker build --help 2>/dev/null && echo "there is BuildKit")
read_build repository settings.{context,dockerfile,target,build_args}
options=()
for name in "${!build_args[@]}"; do options+=("--build-arg=$name=${build_args[$name]}"); done
target=${TARGET:-$target}
rm -f -- "$build/image${TARGET:+.$TARGET}" "$build"/.{iid,metadata} # of an earlier run: this one may fail

need src
inside "$context" "$dockerfile" "$context/$dockerfile" "$context/.dockerignore"
[[ -f $build/src/$dockerfile ]] || dockerfile=$context/$dockerfile
[[ -f $build/src/$dockerfile ]] || fail 1 "no ${dockerfile##*/} in src/$context (set \"dockerfile\" in config.json)"
[[ -d $build/src/$context ]] || fail 1 "the repository has no folder $context (see \"context\" in config.json)"

need labels # not before: the pipeline asks early whether there is a Dockerfile
mapfile -t labels <"$build/labels"
options+=("${labels[@]/#/--label=}")
[[ ! $target ]] || options+=(--target "$target")

file=$(realpath -- "$build/src/$dockerfile") # BuildKit looks at its folder alone, a symlink may lead further
SOURCE_DATE_EPOCH=$(git -C "$build/src" show -s --format=%ct)
export SOURCE_DATE_EPOCH

# The engine keeps a copy of a context under the path it came from, and takes over what changed: hence one path
# for all builds of a repository, theirs in turn.
link=$cache/context/$repository
mkdir -p -- "${link%/*}" && exec {context_lock}>"$link.lock" && flock "$context_lock" \
  && ln -sfn -- "$build/src/$context" "$link.tmp" && mv -T -- "$link.tmp" "$link" \
  || fail 75 "cannot write ${link%/*} (is the disk full?)"

# A 20.10 client builds with BuildKit by itself, later ones need buildx: without it not even the help is there.
help=$(</dev/fd/"$help")
if [[ ${DOCKER_BUILDKIT-} != 0 && $help == *"there is BuildKit" ]]; then
  export DOCKER_BUILDKIT=1
  [[ $help != *--progress* ]] || options+=(--progress=plain) # podman's has none
  [[ $help != *--metadata-file* ]] || options+=(--metadata-file "$build/.metadata")
else
  export DOCKER_BUILDKIT=0
  options+=(--force-rm) # else a failed build leaves its container behind
fi
# buildx: one plain image, by the engine itself; an attestation would be a second, untested manifest.
export BUILDX_NO_DEFAULT_ATTESTATIONS=1 BUILDX_BUILDER=${BUILDX_BUILDER-default}

echo "build.sh: $dockerfile${target:+, stage $target}"
if ! observe docker build "${options[@]}" --iidfile "$build/.iid" --file "$file" -- "$link/"; then
  engine_answers || fail 75 "the Docker engine does not answer (is it running? see: docker version)"
  ! full_disk || fail 75 "the disk is full (docker system df shows by what)"
  ! said 'failed to (do request|solve.*(i/o timeout|toomanyrequests|unexpected status (code|from [^ ]+ request to [^ ]+:) 5))|^(error response from daemon: )?(get "[^"]*/v2/|toomanyrequests)|TLS handshake timeout' \
    || fail 75 "a base image could not be fetched (docker's reason is above)"
  fail 1 "$dockerfile does not build (docker's reason is above)"
fi
id=$(<"$build/.iid")
# buildx writes the digest of the configuration; an engine that keeps images in containerd knows them by their manifest's.
if [[ -f $build/.metadata ]] && ! docker image inspect -- "$id" >/dev/null 2>&1; then
  id=$(jq -r '."containerimage.digest" // ""' -- "$build/.metadata")
  docker image inspect -- "$id" >/dev/null || fail 75 "the engine does not know the image it has just built (BUILDX_BUILDER must be one that loads it)"
fi
# image.built keeps the IDs of earlier attempts too: prune.sh removes them all with the build.
echo "$id" >>"$build/image.built"
leave "image${TARGET:+.$TARGET}" "$id"$'\n'
rm -f -- "$build/.iid" "$build/.metadata"
