#!/usr/bin/env bash
# stage.sh OWNER/NAME [REF [COMMIT]] writes down what to build, as a new build directory
#
# REF      a branch, a tag (short, or in full as refs/heads/main) or a whole commit; else the
#          default branch
# COMMIT   what REF points at, if that is known: with a full REF nothing is asked of the network
# Prints   the build directory, builds/OWNER/NAME/ID; `latest` beside it links to it
# Writes   build.json   what to build, with the settings as they are now; never changed afterwards
#          settings/    each of these settings as a file, which the steps read and a person may edit
# Reads    CONFIG     the configuration (config.json), through `python -m wrapper.config`
#          SETTINGS   what that printed, from a caller that has asked already
#          SOURCE     who wants it: event, sweep, trigger or manual (the default; a poller leaves
#                     those)
#          EVENT, BEFORE   the event's id, and the commit that REF pointed at until now
#          RELEASE_AS      the version it is to be, which package.json has at the commit
#
# Exit codes: 0 staged, 1 no such ref or a bad configuration, 2 called wrongly, 75 the remote or
# the disk
set -Eeuo pipefail
shopt -s inherit_errexit
trap 'exit 75' ERR # what nobody has foreseen is not the ref's fault
# shellcheck disable=SC2034 # for ls-remote
keep_token=1
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/lib/common.sh"

is_commit='^[0-9a-f]{40}([0-9a-f]{24})?$'
is_repository='^[A-Za-z0-9_][A-Za-z0-9._-]*/[A-Za-z0-9._-]+$'
is_id='^([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})\.([0-9]{6})Z-'

# ask_remote: asks it for $commit, and for the full name of $ref.
ask_remote() {
  local url answer object name
  local -A tips=() links=()

  if ! url=$(jq -er '.settings.url | strings' <<<"$settings" 2>/dev/null); then
    refuse_settings
  fi

  answer=$("$scripts/lib/remote-git.sh" ls-remote --symref \
    -- "$url" HEAD ${ref:+"$ref" "$ref^{}"}) \
    || fail 75 "cannot read $url (does it exist, and may the token read it?)"
  while IFS=$'\t' read -r object name; do
    if [[ $object == "ref: "* ]]; then
      links[$name]=${object#ref: }
    elif [[ $name ]]; then
      tips[$name]=$object
    fi
  done <<<"$answer"

  if [[ ${ref:-HEAD} == HEAD ]]; then
    ref=${links[HEAD]-} commit=${commit:-${tips[HEAD]-}}
    if [[ ! $ref || ! $commit ]]; then
      fail 1 "$repository has no commit on a default branch yet (name a ref)"
    fi

    return
  fi

  if [[ ${tips["refs/heads/$ref"]-} && ${tips["refs/tags/$ref"]-} ]]; then
    fail 1 "$repository has both a branch and a tag $ref (say refs/heads/$ref or refs/tags/$ref)"
  fi

  for name in "$ref" "refs/heads/$ref" "refs/tags/$ref"; do
    if [[ ${tips[$name]-} ]]; then
      # An annotated tag is an object of its own: the commit is what it peels to.
      ref=$name commit=${commit:-${tips["$name^{}"]-${tips[$name]}}}
      return
    fi
  done

  fail 1 "$repository has no branch or tag $ref"
}

refuse_settings() { fail 2 "SETTINGS is not what python -m wrapper.config prints"; }

# id_of MICROSECONDS: prints that time as an ID begins.
id_of() { TZ=UTC0 printf '%(%Y%m%dT%H%M%S)T.%sZ' "${1:0:-6}" "${1: -6}"; }

if [[ ${1-} == -h ]]; then
  manual
  exit 0
fi

if [[ $# -lt 1 || $# -gt 3 || ! $1 =~ $is_repository || $1 == */. || $1 == */.. ]]; then
  fail 2 "usage: stage.sh OWNER/NAME [REF [COMMIT]] (-h explains)"
fi

repository=$1 ref=${2-} commit=${3-}
if [[ $commit && ! $commit =~ $is_commit ]]; then
  fail 2 "\"$commit\" is no commit (40 hexadecimal digits)"
fi

if [[ $ref =~ $is_commit && ${commit:-$ref} != "$ref" ]]; then
  fail 2 "$ref is another commit than $commit"
fi

if [[ $ref ]] && ! git check-ref-format --allow-onelevel "$ref" 2>/dev/null; then
  fail 2 "\"$ref\" is no name of a ref"
fi

settings=${SETTINGS-}
if [[ ! $settings ]]; then
  settings=$(wrapper config "$repository") || exit
fi

if [[ $ref =~ $is_commit ]]; then
  commit=$ref
elif [[ ! $commit || $ref != refs/* ]]; then
  ask_remote
fi

# One jq makes all: where builds are, build.json without its head, and the parts of settings/.
mapfile -d '' -t made < <(
  jq -nj -L "$scripts/lib" --argjson resolved "$settings" --arg repository "$repository" \
    --arg ref "$ref" --arg commit "$commit" --arg before "${BEFORE-}" --arg event "${EVENT-}" \
    --arg source "${SOURCE:-manual}" --arg version "${RELEASE_AS-}" 'include "settings";
    def given: if . == "" then null else . end;
    ($resolved.builds | strings), "\u0000",
    ({$repository, url: ($resolved.settings.url | strings), $ref, $commit,
      before: ($before | given), event: ($event | given), $source, staged_at: (now | todate),
      settings: $resolved.settings} + if $version == "" then {} else {$version} end, "\u0000"),
    ($resolved.settings | files)' 2>/dev/null
)
builds=${made[0]-}
if [[ ! $builds || ${made[1]-} != \{* || ${made[*]: -1} != end ]]; then
  refuse_settings
fi

folder=$builds/$repository
trap 'fail 75 "cannot write $folder (is the disk full?)"' ERR
mkdir -p -- "$folder"
exec {folder_lock}>"$folder/.lock"
flock "$folder_lock"

# The ID sorts above all earlier ones of the repository, whatever the clock did.
newest=''
for each in "$folder"/[0-9]*; do
  if [[ ${each##*/} =~ $is_id ]]; then
    newest=${each##*/} part=("${BASH_REMATCH[@]:1}")
  fi
done

now micros
stamp=$(id_of "$micros")
if [[ $newest && ! $stamp > ${newest%%-*} ]]; then
  newest="${part[0]}-${part[1]}-${part[2]} ${part[3]}:${part[4]}:${part[5]}.${part[6]}"
  micros=$(date -ud "$newest" +%s%6N)
  stamp=$(id_of "$((micros + 1))")
fi

id=$stamp-${commit:0:7}

# It is made beside its place, and renamed when all of it is on the disk.
half=$folder/.staging
rm -rf -- "$half"
write_settings "$half" "$(cksum <"$schema")" "${made[@]:2}"
printf '{"format":1,"id":"%s",%s\n' "$id" "${made[1]#\{}" >"$half/build.json"
find "$half" -exec sync -- {} +
mv -T -- "$half" "$folder/$id"
ln -sfn -- "$id" "$folder/.latest"
mv -T -- "$folder/.latest" "$folder/latest"
sync -- "$folder"

echo "$folder/$id"
