#!/usr/bin/env bash
# prune.sh BUILDS makes room in a builds directory; what is not ours is never touched
#
# Removes   builds beyond the newest `keep` of a repository: never one at work, one that still
#           waits, one whose end GitHub is still to be told, or the latest successful one. With
#           them go the tags they gave their images here, the images (by ID, unless another build,
#           a container or somebody's tag has them), and containers of theirs.
#           Containers and networks that a build which nobody works on has left in the engine.
#           In builds/.cache what was used least lately, while it is larger than CACHE_MAX bytes
#           (10 GiB). What BuildKit has cached beyond `build_cache_max`.
# Where builds are sent to other machines, the same there (lib/prune-nodes.sh); KEPT names a file of
# the builds that are still known: others go, whatever their number.
# In a registry nothing is removed.
#
# Exit codes: 0 done (or another prune is at work), 2 called wrongly, 75 the engine: images stay
# until the next time
set -euo pipefail
shopt -s inherit_errexit nullglob dotglob
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/lib/common.sh"

id_pattern='[0-9]{8}T[0-9]{6}\.[0-9]{6}Z-[0-9a-f]{7}'

# list_directories PATTERN: sets $found to those below a repository's folder with such a name, the
# newest of each repository first. No links: they lead elsewhere.
list_directories() {
  mapfile -d '' -t found < <(
    find . -mindepth 3 -maxdepth 3 -regextype posix-extended \
      -regex "\./[^.][^/]*/[^/]+/$1" -type d -print0 | LC_ALL=C sort -rz
  )
  wait "$!"
}

# unlocked FILE COMMAND...: runs it while nobody else holds the lock, else passes by.
unlocked() {
  local lock

  # Of a build that a job was killed with it leads to a shared folder, where it has gone.
  if [[ -L $1 && ! -e $1 ]]; then
    rm -f -- "$1"
  fi

  exec {lock}<>"$1"
  if flock -n "$lock"; then
    "${@:2}"
  fi

  exec {lock}>&-
}

# remove DIRECTORY: also what a stranger's script has made read-only.
remove() {
  if ! rm -rf -- "$1" 2>/dev/null; then
    chmod -R u+rwX -- "$1" || return 0
    rm -rf -- "$1" || return 0
  fi

  echo "prune.sh: removed ${1#./}"
}

# is_true BUILD FILE FILTER: does the filter say true of its JSON? What cannot be read says nothing.
is_true() {
  [[ -f $1/$2 && $(jq "$3" -- "$1/$2" 2>/dev/null) == true ]]
}

# setting_of BUILD KEY: prints one of its settings. A build of version 0.1.0 has them in build.json
# alone.
setting_of() {
  if [[ -d $1/settings ]]; then
    cat -- "$1/settings/$2" 2>/dev/null || true
  else
    jq -r --arg key "$2" '.settings[$key] // ""' -- "$1/build.json" 2>/dev/null || true
  fi
}

# is_told BUILD: does GitHub know how it ended? (A build by hand has no file `status`.)
is_told() {
  local told='' wanted=''

  if [[ -f $1/status ]]; then
    read -r told wanted <"$1/status" || true
  fi

  if [[ $told == refused ]]; then
    return 0
  fi

  [[ $told == "$wanted" && $told != pending ]]
}

# is_newer BUILD: has a later version staged it? Then it is not ours to judge.
is_newer() {
  [[ $(head -c 99 -- "$1/build.json" 2>/dev/null) =~ \"format\":[[:space:]]*([0-9]+) ]] || return 1
  [[ ${BASH_REMATCH[1]} -gt 1 ]]
}

# has_ended BUILD: one by hand may never get a result: it counts by its age alone.
has_ended() {
  if is_newer "$1"; then
    return 1
  fi

  if [[ -f $1/result.json ]]; then
    return 0
  fi

  is_true "$1" build.json '.source == "manual"'
}

# is_unknown BUILD: is it not in the list? One that cannot be read does not tell.
is_unknown() {
  local code=0
  grep -qxF -- "$1" "$KEPT" || code=$?
  [[ $code -eq 1 ]]
}

# bury_old_builds: under another name nobody sees a build any more, and a prune that was cut off
# goes on with it.
bury_old_builds() {
  local build folder='' keep finished success
  local -a found

  list_directories "$id_pattern"
  for build in "${found[@]}"; do
    if [[ ${build%/*} != "$folder" ]]; then
      folder=${build%/*} keep='' finished=0 success=''
    fi

    if [[ ! $keep ]]; then
      keep=$(setting_of "$build" keep)
      [[ $keep =~ ^[0-9]+$ ]] || keep=''
    fi

    # What is newer than the list is not in it yet.
    if [[ -s ${KEPT-} && ! $build -nt ${KEPT-} ]] && is_unknown "${build#./}"; then
      unlocked "$build/lock" mv -T -- "$build" "$folder/.pruned.${build##*/}"
      continue
    fi

    if ! has_ended "$build"; then
      continue
    fi

    finished=$((finished + 1))
    if [[ ! $success ]] && is_true "$build" result.json '.status == "success"'; then
      success=$build
    elif [[ $keep && $finished -gt $keep ]] && is_told "$build"; then
      unlocked "$build/lock" mv -T -- "$build" "$folder/.pruned.${build##*/}"
    fi
  done
}

# remove_strays: containers and networks of builds that nobody works on. A step may have been killed
# together with the pipeline that would have removed them.
remove_strays() {
  local id build
  local label=docker-build-server.build

  while read -r id build; do
    if [[ $build == "$(pwd -P)"/* ]]; then
      remove_stray "$build" docker rm -fv -- "$id"
    fi
  done < <(quick_docker ps -aq --no-trunc --filter "label=$label" \
    --format "{{.ID}} {{.Label \"$label\"}}" 2>/dev/null)

  while read -r id build; do
    if [[ $build == "$(pwd -P)"/* ]]; then
      remove_stray "$build" docker network rm -- "$id"
    fi
  done < <(quick_docker network ls --filter "label=$label" \
    --format "{{.ID}} {{.Label \"$label\"}}" 2>/dev/null)
}

# remove_stray BUILD COMMAND...: unless somebody works on the build.
remove_stray() {
  if [[ ! -d $1 ]]; then
    "${@:2}" >/dev/null 2>&1 || true
  elif [[ -f $1/lock ]]; then
    unlocked "$1/lock" "${@:2}" >/dev/null 2>&1 || true
  fi
}

# erase_buried: removes them with their images. Sets $code to 75 where that cannot be, as the engine
# does not answer.
erase_buried() {
  local each
  local -a found buried

  list_directories "\.pruned\.$id_pattern"
  buried=()
  for each in "${found[@]}"; do
    if [[ $(setting_of "$each" engine/kind) == kubernetes ]]; then
      remove "$each" # its images went with the job's own engine
    else
      buried+=("$each")
    fi
  done

  if [[ ${#buried[@]} -eq 0 ]]; then
    return
  fi

  if ! engine_answers; then
    code=75
    return
  fi

  for each in "${buried[@]}"; do
    list_used
    erase_images "$each"
    remove "$each"
  done
}

# list_used: sets $used to the image IDs of all builds there are, which may be more by now.
list_used() {
  local build
  local -a found
  list_directories "$id_pattern"
  used=$(for build in "${found[@]}"; do images_of "$build"; done)
}

# images_of BUILD: prints the IDs of its images. (Version 0.1.0 kept them in files image.built and
# image.STAGE.)
images_of() {
  local file
  grep -shxE 'sha256:[0-9a-f]{64}' -- "$1"/image "$1"/image.* || true
  for file in "$1"/images/*; do
    echo "${file##*/}"
  done
}

# erase_images BURIED: what it made in the engine. The directory that knows of it goes last.
erase_images() {
  local id=${1##*.pruned.} folder=${1%/*} name image

  folder=${folder#./}
  name=$(setting_of "$1" registry)/$(setting_of "$1" image)
  docker rm -fv -- "docker-build-server.${folder//\//.}.$id" >/dev/null 2>&1 || true
  for image in $(images_of "$1" | sort -u); do
    if [[ $used != *"$image"* && -z $(docker ps -aq --filter "ancestor=$image" 2>/dev/null) ]]; then
      erase_image "$1" "${name#docker.io/}" "$image" # the engine leaves that away
    fi
  done
}

# erase_image BURIED NAME IMAGE: the tags that the build gave it; and the image, unless it is
# somebody else's too, whose tag docker would remove with it, were that its last.
erase_image() {
  local reference shared=''
  local references='{{range .RepoTags}}{{println .}}{{end}}'

  references+='{{range .RepoDigests}}{{println .}}{{end}}'
  local -a tags=()

  while read -r reference; do
    if [[ $reference == "$2:"* ]] && grep -sqxF -- "${reference#"$2:"}" "$1/tags"; then
      tags+=("$reference")
    elif [[ $reference && $reference != "$2@"* ]]; then
      shared=shared
    fi
  done < <(docker image inspect --format "$references" -- "$3" 2>/dev/null)

  if [[ ${#tags[@]} -gt 0 ]]; then
    docker rmi -- "${tags[@]}" >/dev/null 2>&1 || true
  fi

  if [[ ! $shared ]]; then
    docker rmi -- "$3" >/dev/null 2>&1 || true # mostly gone with its last tag
  fi
}

# limit_cache: removes what was used least lately. Measuring takes a while in a large cache: once an
# hour is enough.
limit_cache() {
  local lock
  local -a locks=(.cache/{install,node_modules,git}/*/*.lock .cache/node_modules/*/*/*.lock)

  if [[ -n $(find .cache/measured -mmin -60 2>/dev/null) ]]; then
    return
  fi

  : >.cache/measured

  # Version 0.1.0 kept what repositories share now no more.
  rm -rf .cache/context .cache/npm .cache/npm.lock
  find .cache/node_modules/ -mindepth 1 -maxdepth 1 -regextype posix-extended \
    -regex '.*/[0-9a-f]{64}(\.lock)?' -exec rm -rf -- {} + 2>/dev/null || true

  # These are left by an install, or a plan, that was killed.
  find .cache/node_modules/ -mindepth 3 -maxdepth 3 -name '*.tmp.*' -mmin +1440 \
    -exec rm -rf -- {} + 2>/dev/null || true
  find .cache -maxdepth 1 -name 'plan.*' -mmin +1440 -exec rm -rf -- {} + 2>/dev/null || true

  measure
  while read -r _ lock; do
    unlocked "$lock" evict "$lock"
  done < <(find "${locks[@]}" -maxdepth 0 -type f -printf '%T@ %p\n' 2>/dev/null | sort -n)
}

# limit_build_cache: has the engine remove what BuildKit has cached beyond the limit, least lately
# used first. The limit is that of the newest build. A client of version 28 has another name for the
# option.
limit_build_cache() {
  local folder limit help
  local -a found

  list_directories "$id_pattern"
  newest=$(printf '%s\n' "${found[@]}" | LC_ALL=C sort -t / -k 4 | tail -n 1)
  limit=$(setting_of "$newest" build_cache_max)
  folder=$(quick_docker info --format '{{.DockerRootDir}}' 2>/dev/null) || return 0
  printf %s "$folder" >.cache/engine # for engine_folder
  if [[ ! $limit || $limit == 0 ]] || ! help=$(docker builder prune --help 2>/dev/null); then
    return 0
  fi

  if [[ $help == *--max-used-space* ]]; then
    docker builder prune --force --all --max-used-space "$limit" >/dev/null 2>&1 || true
  else
    docker builder prune --force --all --keep-storage "$limit" >/dev/null 2>&1 || true
  fi
}

# measure: sets $size, in bytes. Files may come and go while du counts.
measure() {
  size=$(du -s -B1 .cache 2>/dev/null | cut -f1) || true
}

# evict LOCK: removes a part of the cache, if that is still too large.
evict() {
  if [[ $size -gt ${CACHE_MAX:-10737418240} && -d ${1%.lock} && ! -L ${1%.lock} ]]; then
    remove "${1%.lock}"
    measure
  fi
}

if [[ ${1-} == -h ]]; then
  manual
  exit 0
fi

if [[ $# -ne 1 || ! -d $1 ]]; then
  fail 2 "usage: prune.sh BUILDS, a builds directory (-h explains)"
fi

cd -- "$1"
signs=(.wa[k]e .loc[k] .cache/gi[t] .cache/node_module[s] */*/*/build.json)
if [[ ${#signs[@]} -eq 0 ]]; then
  exit 0 # no builds were ever here: a folder of something else, say
fi

mkdir -p .cache
exec {pruning}>.cache/prune.lock
flock -n "$pruning" || exit 0

code=0
bury_old_builds
erase_buried
remove_strays
limit_cache
limit_build_cache
if [[ ${KEPT-} ]]; then # Swarm leaves the containers of jobs that have ended
  docker container prune --force --filter label=docker-build-server.shared >/dev/null 2>&1 || true
elif [[ -f ${newest-}/settings/engine/kind ]]; then
  "$scripts/lib/prune-nodes.sh" "$newest" || true
fi

if [[ $code -ne 0 ]]; then
  fail "$code" "the Docker engine does not answer: images stay until the next time"
fi
