#!/usr/bin/env bash
# prune.sh BUILDS: makes room in a builds directory; what is not ours is never touched
#
# Removes   builds beyond the newest `keep` of a repository: never one at work, one that still waits, or the latest
#           successful one. With them go their images (by the IDs in their image files, unless another build has
#           the same one or somebody tagged or uses it), the tags they gave them here, and their containers.
#           What was used least lately in builds/.cache, while that is larger than CACHE_MAX (10 GiB).
# In a registry nothing is removed.
#
# Exit codes: 0 done (or another prune is at work), 2 called wrongly
set -euo pipefail
shopt -s inherit_errexit nullglob
. "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

if [[ ${1-} == -h ]]; then
  manual
  exit 0
fi
[[ $# -eq 1 && -d $1 ]] || fail 2 "usage: prune.sh BUILDS, a builds directory (-h explains)"
builds=$(realpath -- "$1")
mkdir -p -- "$builds/.cache"
exec {pruning}>"$builds/.cache/prune.lock"
flock -n "$pruning" || exit 0

# unlocked FILE COMMAND...: runs it while nobody else holds the lock, else passes by.
unlocked() {
  local lock=0
  exec {lock}>>"$1"
  flock -n "$lock" && "${@:2}" || true
  exec {lock}>&-
}

# surplus FOLDER KEEP: the finished builds of a repository that may go, oldest first.
surplus() {
  local finished
  # A build made by hand may never get a result: it counts by its age alone.
  finished=$(jq -r 'select(.source == "manual" or .status) | [input_filename, .status // ""] | @tsv' "$1"/[0-9]*/{build,result}.json \
    | sed 's,/[a-z]*\.json\t,\t,' | LC_ALL=C sort)
  awk -F'\t' -v keep="$2" '
    {if (!($1 in seen)) {seen[$1]; builds[++n] = $1} if ($2 == "success") latest = $1}
    END {for (i = 1; i <= n - keep; i++) if (builds[i] != latest) print builds[i]}' <<<"$finished"
}

# bury BUILD: from here on nobody sees it any more, and a prune that was cut off goes on with it.
bury() { mv -T -- "$1" "${1%/*}/.pruned.${1##*/}"; }

# erase BURIED: the images, then the directory that knows of them.
erase() {
  local id tag name container
  name=$(jq -r '"\(.settings.registry)/\(.settings.image)"' -- "$1/build.json" 2>/dev/null) || true
  for id in $(cat -- "$1"/image "$1"/image.* 2>/dev/null); do
    ! grep -qxF -- "$id" <<<"$images_in_use" || continue
    while IFS= read -r tag; do
      [[ $(docker image inspect --format '{{.Id}}' -- "$name:$tag" 2>/dev/null) != "$id" ]] || docker rmi -- "$name:$tag"
    done < <(cat -- "$1/tags" 2>/dev/null)
    docker rmi -- "$id" || true # not where it has a tag of somebody else's, or a container
  done >/dev/null 2>&1
  container=docker-build-server.${1#"$builds/"}
  container=${container/.pruned./}
  docker rm -f -- "${container//\//.}" >/dev/null 2>&1 || true
  rm -rf -- "$1"
  echo "prune.sh: removed ${1#"$builds/"}"
}

latest=("$builds"/*/*/latest/build.json)
[[ ${#latest[@]} -eq 0 ]] || while IFS=$'\t' read -r file keep; do
  folder=${file%/latest/build.json}
  all=("$folder"/[0-9]*/)
  [[ ${#all[@]} -gt $keep ]] || continue
  while IFS= read -r build; do
    [[ ! $build ]] || unlocked "$build/lock" bury "$build"
  done < <(surplus "$folder" "$keep")
done < <(jq -r '[input_filename, .settings.keep] | @tsv' "${latest[@]}")

buried=("$builds"/*/*/.pruned.*)
if [[ ${#buried[@]} -gt 0 ]]; then
  images_in_use=$(find "$builds" -mindepth 4 -maxdepth 4 -path '*/[0-9]*/image*' ! -path '*/.cache/*' -exec cat -- {} +)
  for build in "${buried[@]}"; do erase "$build"; done
fi

# Measuring takes a while in a large cache: once an hour is enough.
if [[ ! $(find "$builds/.cache/measured" -mmin -60 2>/dev/null) ]]; then
  : >"$builds/.cache/measured"
  find "$builds/.cache/node_modules" -maxdepth 1 -name '*.tmp.*' -mmin +60 -exec rm -rf -- {} + 2>/dev/null || true
  size=$(du -s -B1 -- "$builds/.cache" | cut -f1)
  while IFS=$'\t' read -r _ lock && [[ $size -gt ${CACHE_MAX:-10737418240} ]]; do
    [[ -d ${lock%.lock} ]] || continue
    unlocked "$lock" rm -rf -- "${lock%.lock}"
    size=$(du -s -B1 -- "$builds/.cache" | cut -f1)
    echo "prune.sh: removed ${lock%.lock} from the cache"
  done < <(find "$builds/.cache" -maxdepth 3 -name '*.lock' ! -path '*/context/*' -printf '%T@\t%p\n' | sort -n)
fi
