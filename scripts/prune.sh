#!/usr/bin/env bash
# prune.sh BUILDS: makes room in a builds directory; what is not ours is never touched
#
# Removes   builds beyond the newest `keep` of a repository: never one at work, one that still waits, one whose
#           end GitHub is still to be told, or the latest successful one. With them go the tags they gave their
#           images here, the images (by ID, unless another build, a container or somebody's tag has them), and
#           containers of theirs.
#           What was used least lately in builds/.cache, while that is larger than CACHE_MAX bytes (10 GiB).
# In a registry nothing is removed.
#
# Exit codes: 0 done (or another prune is at work), 2 called wrongly, 75 the engine: images stay until the next time
set -euo pipefail
shopt -s inherit_errexit nullglob dotglob
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/lib/common.sh"

if [[ ${1-} == -h ]]; then
  manual
  exit 0
fi
[[ $# -eq 1 && -d $1 ]] || fail 2 "usage: prune.sh BUILDS, a builds directory (-h explains)"
cd -- "$1"
signs=(.wa[k]e .loc[k] .cache/gi[t] .cache/node_module[s] */*/*/build.json)
[[ ${#signs[@]} -gt 0 ]] || exit 0 # no builds were ever here: a folder of something else, say
mkdir -p .cache
exec {pruning}>.cache/prune.lock
flock -n "$pruning" || exit 0

# directories REGEX: those below a repository's folder with such a name, the newest of each repository first. No
# links: they lead elsewhere.
directories() {
  find . -mindepth 3 -maxdepth 3 -regextype posix-extended -regex "\./[^.][^/]*/[^/]+/$1" -type d -print0 | LC_ALL=C sort -rz
}

# unlocked FILE COMMAND...: runs it while nobody else holds the lock, else passes by.
unlocked() {
  local lock
  exec {lock}>>"$1"
  ! flock -n "$lock" || "${@:2}"
  exec {lock}>&-
}

# remove DIRECTORY: also what a stranger's script has made read-only.
remove() {
  rm -rf -- "$1" 2>/dev/null || { chmod -R u+rwX -- "$1" && rm -rf -- "$1"; } || return 0
  echo "prune.sh: removed ${1#./}"
}

# has BUILD FILE FILTER: does the filter say true of its JSON? What cannot be read says nothing.
has() { [[ -f $1/$2 && $(jq "$3" -- "$1/$2" 2>/dev/null) == true ]]; }

# told BUILD: does GitHub know how it ended? (A build by hand has no file `status`.)
told() {
  local now='' wanted=''
  [[ ! -f $1/status ]] || read -r now wanted <"$1/status" || true
  [[ $now == refused || $now == "$wanted" && $now != pending ]]
}

# erase BURIED: its images, and last the directory that knows of them.
erase() {
  local id=${1##*.pruned.} folder=${1%/*} name image reference
  local -a tags
  folder=${folder#./}
  docker rm -fv -- "docker-build-server.${folder//\//.}.$id" || true
  name=$(jq -r '"\(.settings.registry)/\(.settings.image)"' -- "$1/build.json") || true
  name=${name#docker.io/} # the engine leaves that away
  for image in $(ids "$1"/image "$1"/image.* | sort -u); do
    [[ $used != *"$image"* && -z $(docker ps -aq --filter "ancestor=$image") ]] || continue
    tags=()
    while read -r reference; do
      if [[ $reference == "$name:"* ]] && grep -qxF -- "${reference#"$name:"}" "$1/tags"; then
        tags+=("$reference")
      elif [[ $reference && $reference != "$name@"* ]]; then
        image='' # somebody else's too: docker would remove it with their tag, were that its last
      fi
    done < <(docker image inspect --format '{{range .RepoTags}}{{println .}}{{end}}{{range .RepoDigests}}{{println .}}{{end}}' -- "$image")
    [[ ${#tags[@]} -eq 0 ]] || docker rmi -- "${tags[@]}" || true
    [[ ! $image ]] || docker rmi -- "$image" || true # mostly gone with its last tag
  done
} >/dev/null 2>&1

# ids FILE...: the image IDs in them.
ids() { grep -shxE 'sha256:[0-9a-f]{64}' -- "$@" || true; }

id='[0-9]{8}T[0-9]{6}\.[0-9]{6}Z-[0-9a-f]{7}' folder=''
mapfile -d '' -t all < <(directories "$id") && wait "$!"
for one in "${all[@]}"; do
  [[ ${one%/*} == "$folder" ]] || folder=${one%/*} keep='' finished=0 success=''
  [[ $keep ]] || keep=$(jq -r '.settings.keep | numbers' -- "$one/build.json" 2>/dev/null) || true
  # A build by hand may never get a result: it counts by its age alone.
  [[ -f $one/result.json ]] || has "$one" build.json '.source == "manual"' || continue
  finished=$((finished + 1))
  if [[ ! $success ]] && has "$one" result.json '.status == "success"'; then
    success=$one
  elif [[ $keep && $finished -gt $keep ]] && told "$one"; then
    # Under another name nobody sees it any more, and a prune that was cut off goes on with it.
    unlocked "$one/lock" mv -T -- "$one" "$folder/.pruned.${one##*/}"
  fi
done

code=0
mapfile -d '' -t buried < <(directories "\.pruned\.$id")
if [[ ${#buried[@]} -gt 0 ]] && ! engine_answers; then
  code=75
elif [[ ${#buried[@]} -gt 0 ]]; then
  for one in "${buried[@]}"; do
    mapfile -d '' -t all < <(directories "$id") && wait "$!" # there may be new ones
    used=$(for other in "${all[@]}"; do ids "$other"/image "$other"/image.*; done)
    erase "$one"
    remove "$one"
  done
fi

# evict LOCK: a part of the cache.
evict() {
  [[ $size -gt ${CACHE_MAX:-10737418240} && -d ${1%.lock} && ! -L ${1%.lock} ]] || return 0
  remove "${1%.lock}"
  measure
}

# Files may come and go while du counts.
measure() { size=$(du -s -B1 .cache 2>/dev/null | cut -f1) || true; }

# Measuring takes a while in a large cache: once an hour is enough.
if [[ -z $(find .cache/measured -mmin -60 2>/dev/null) ]]; then
  : >.cache/measured
  # left by an install, or a plan, that was killed
  find .cache/node_modules/ .cache -maxdepth 1 \( -name '*.tmp.*' -o -name 'plan.*' \) -mmin +1440 -exec rm -rf -- {} + 2>/dev/null || true
  measure
  locks=(.cache/npm.lock .cache/node_modules/*.lock .cache/git/*/*.lock)
  while read -r _ lock; do unlocked "$lock" evict "$lock"; done < <(find "${locks[@]}" -maxdepth 0 -type f -printf '%T@ %p\n' 2>/dev/null | sort -n)
fi
[[ $code -eq 0 ]] || fail "$code" "the Docker engine does not answer: images stay until the next time"
