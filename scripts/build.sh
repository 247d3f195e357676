#!/usr/bin/env bash
# build.sh BUILD makes an image of the checkout, by docker build
#
# Reads     build.json, src/, labels
# Writes    image     the image ID
#           images/   a file for each image this build has made, named by its ID, for prune.sh
# Settings  cache: registry reads BuildKit's cache from the images that the branch, the default
#           branch and the last releases have in the registry, and leaves its own in this one
#           context, target, build_args, secrets, ssh; dockerfile (in the checkout, else in the
#           context; null: the context's own, else the root's)
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
. "${self%/*}/lib/dockerfile.sh"

# choose_builder: adds to $options what the client's builder knows. A 20.10 client builds with
# BuildKit by itself, later ones need buildx: without it not even the help is there.
choose_builder() {
  local help

  export DOCKER_BUILDKIT=${DOCKER_BUILDKIT-1}

  # buildx: one plain image, by the engine itself; an attestation would be a second, untested
  # manifest.
  export BUILDX_NO_DEFAULT_ATTESTATIONS=1 BUILDX_BUILDER=${BUILDX_BUILDER-default}
  export BUILDX_GIT_INFO=false # it runs git in the context, where an install may have left a .git
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

# add_secrets: adds to $options what only BuildKit has: secrets, the ssh agent, and cache mounts
# that no other entry shares, which could put code into them.
# (https://docs.docker.com/build/building/variables/, BUILDKIT_CACHE_MOUNT_NS)
add_secrets() {
  local name ssh
  local -a names

  list_setting names secrets
  ssh=$(setting ssh)
  if [[ $DOCKER_BUILDKIT == 0 ]]; then
    if [[ ${#names[@]} -gt 0 || $ssh == true ]]; then
      fail_for_good "\"secrets\" and \"ssh\" need BuildKit, which this docker client lacks" \
        "(install buildx)"
    fi

    return
  fi

  for name in "${names[@]}"; do
    options+=(--secret "id=$name,src=$(secret_file "$name")")
  done

  if [[ $ssh == true ]]; then
    options+=(--ssh default)
  fi

  options+=("--build-arg=BUILDKIT_CACHE_MOUNT_NS=$entry")
}

# use_registry_cache: sets $sources to options that name the images which hold the cache: those of
# the tags that move with this build, and of the default branch. One that is not there is passed
# over by BuildKit. The image that is built is to hold it too.
use_registry_cache() {
  local tag version default name commit
  local -a tags

  commit=$(fact commit)
  name=$(<"$build/settings/registry")/$(<"$build/settings/image")
  version=$(<"$build/version")
  mapfile -t tags <"$build/tags"
  default=$(in_src symbolic-ref -q refs/remotes/origin/HEAD) || true
  default=${default#refs/remotes/origin/}
  if [[ $default =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]*$ && " ${tags[*]} " != *" $default "* ]]; then
    tags+=("$default")
  fi

  for tag in "${tags[@]}"; do
    if [[ $tag != *"${version//+/-}"* && $tag != *"${commit:0:7}"* ]]; then
      sources+=(--cache-from "$name:$tag")
    fi
  done

  options+=(--build-arg=BUILDKIT_INLINE_CACHE=1)
}

# plain_dockerfile: prints the path to give to docker. BuildKit gets the folder of the Dockerfile
# alone, out of which a symbolic link may lead, and looks there for NAME.dockerignore: so of a link
# a copy is made, with what stands beside the link.
plain_dockerfile() {
  local file=$build/src/$dockerfile folder=$build/.dockerfile
  if [[ ! -L $file ]]; then
    realpath -- "$file"
    return
  fi

  rm -rf -- "$folder"
  mkdir -- "$folder"
  cp -L -- "$file" "$folder/"
  if [[ -f $file.dockerignore ]]; then
    cp -L -- "$file.dockerignore" "$folder/"
  fi

  echo "$folder/${file##*/}"
}

# build_image OPTION...: builds, and sets $id to the image's ID.
build_image() {
  watch docker build "${options[@]}" "$@" -- "$link/" || explain "$?"
  if [[ ! -s $build/.iid ]]; then
    fail 75 "docker build left no image ID (is the engine running? see: docker version)"
  fi

  id=$(<"$build/.iid")
  # buildx writes the digest of the configuration; an engine that keeps images in containerd (Docker
  # 29's default) knows them by their manifest's.
  if [[ -f $build/.metadata ]] && ! docker image inspect -- "$id" >/dev/null 2>&1; then
    id=$(jq -r '."containerimage.digest" // ""' -- "$build/.metadata")
    docker image inspect -- "$id" >/dev/null \
      || fail 75 "the engine does not know the image it has just built" \
        "(BUILDX_BUILDER must be one that loads it)"
  fi

  make_folder "$build/images"
  leave "images/$id" ''
}

# explain CODE: fails, with who is to blame that it did not build. What a RUN prints is a
# stranger's: only docker's own last line counts, and a RUN that failed is the repository's whatever
# it is called.
explain() {
  local words failed_run unreached away syntax
  failed_run='executor failed running|did not complete successfully|returned a non-zero code'
  unreached='toomanyrequests|too many requests|(unexpected status|status code).*(429|5[0-9][0-9])'
  unreached+='|TLS handshake timeout|i/o timeout|connection (reset|refused)|unexpected EOF'
  unreached+='|no such host'
  unreached+='|name resolution|failed to do request|httpReadSeeker|server misbehaving|: EOF$'
  away='did not provide an image ID|error reading from server|transport is closing|= Unavailable'
  away+='|Cannot connect to the Docker daemon|context canceled'
  words=$(last_words)
  syntax=$(sed -nE '1s/^#[[:space:]]*syntax[[:space:]]*=[[:space:]]*([^[:space:]]+).*/\1/p' "$file")

  need_engine
  if [[ $1 -eq 137 ]]; then
    fail 75 "docker build was ended by KILL (out of memory? dmesg tells)"
  fi

  if [[ $words =~ $failed_run ]]; then
    fail 1 "$dockerfile does not build: $words"
  fi

  if [[ $words == *"no space left on device"* ]] || no_room; then
    fail 75 "the engine's disk is full: $words (docker system df shows by what)"
  fi

  if [[ $words =~ $away ]]; then
    fail 75 "the Docker engine went away: $words (is it running? see: docker version)"
  fi

  if [[ $words =~ $unreached && $syntax && $words == *"${syntax%%:*}"* ]]; then
    fail 75 "$syntax, which \"# syntax=\" names, could not be fetched: $words"
  fi

  if [[ $words =~ $unreached ]]; then
    fail 75 "a base image could not be fetched: $words"
  fi

  fail 1 "$dockerfile does not build: ${words:-docker build said nothing and ended with $1}"
}

open_build "$@"
context=$(<"$build/settings/context")
target=${TARGET:-$(setting target)}
result=image
if [[ ${TARGET-} ]]; then
  result=.test-image
fi

remove_tree "$build/$result" "$build/.iid" "$build/.metadata" # of an earlier run: this may fail

need src
find_dockerfile
inside "$context" "$context/.dockerignore" ${dockerfile:+"$dockerfile" "$dockerfile.dockerignore"}
if [[ ! -d $build/src/$context ]]; then
  fail 1 "the repository has no folder $context (see \"context\" in config.json)"
fi

if [[ ! $dockerfile ]]; then
  fail_without_dockerfile
fi

for each in "$dockerfile" "$dockerfile.dockerignore" "$context/.dockerignore"; do
  if [[ -e $build/src/$each && ! -f $build/src/$each ]]; then
    fail 1 "$each is no regular file (a pipe or a device would hold the build up)"
  fi
done

need labels # not before: the pipeline asks early whether there is a Dockerfile
mapfile -t labels <"$build/labels"

file=$(plain_dockerfile)
options=(--iidfile "$build/.iid" --file "$file")
options+=("${labels[@]/#/--label=}")
for each in "$build"/settings/build_args/*; do
  if [[ -f $each ]]; then
    IFS= read -r -d '' value <"$each" || true # unlike $(<) keeps newlines at the end
    options+=("--build-arg=${each##*/}=$value")
  fi
done

if [[ $target ]]; then
  options+=(--target "$target")
fi

sources=()
choose_builder
need_secrets
add_secrets
# A stage for the tests is not pushed, and what it shares with the image is here by then.
if [[ $(setting cache) == registry && $DOCKER_BUILDKIT != 0 && ! ${TARGET-} ]]; then
  use_registry_cache
fi

# The commit's date is one of the labels: after an install no git runs here.
created=$(sed -n 's/^org.opencontainers.image.created=//p' "$build/labels")
if [[ $created ]]; then
  SOURCE_DATE_EPOCH=$(date -ud "$created" +%s)
  export SOURCE_DATE_EPOCH
fi

# The engine keeps a copy of a context under the path it came from, and takes over what changed: 0.2
# s less with 5,000 files. Hence one path for all builds of a repository, theirs in turn.
link=$cache/contexts/$entry/context
lock_cache "$link"
if ! ln -sfn -- "$build/src/$context" "$link.tmp" || ! mv -T -- "$link.tmp" "$link"; then
  fail 75 "cannot write ${link%/*} (is the disk full?)"
fi

echo "build.sh: $dockerfile${target:+, stage $target}"
if [[ ${#sources[@]} -gt 0 ]]; then
  # Of layers that come from there the image would not hold the cache, and the next host starts from
  # nothing (https://github.com/moby/buildkit/issues/1981): so it is built once more, of the
  # engine's own.
  build_image "${sources[@]}"
fi

build_image
leave "$result" "$id"$'\n'
rm -f -- "$build/.iid" "$build/.metadata"
