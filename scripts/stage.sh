#!/usr/bin/env bash
# stage.sh OWNER/NAME [REF [COMMIT]]: writes down what to build, as a new build directory
#
# REF      a branch, a tag (short, or in full as refs/heads/main) or a whole commit; else the default branch
# COMMIT   what REF points at, if that is known: with a full REF nothing is asked of the network
# Prints   the build directory, builds/OWNER/NAME/ID; `latest` beside it links to it
# Writes   build.json: what to build, with the repository's settings as they are now; never changed afterwards
# Reads    CONFIG     the configuration (config.json), through `python -m wrapper.config`
#          SETTINGS   what that printed, from a caller that has asked already
#          SOURCE     who wants it: event, sweep, trigger or manual (the default; a poller leaves those alone)
#          EVENT, BEFORE   the event's id, and the commit that REF pointed at until now
#
# Exit codes: 0 staged, 1 no such ref or a bad configuration, 2 called wrongly, 75 the remote or the disk
set -euo pipefail
shopt -s inherit_errexit
trap 'exit 75' ERR # what nobody has foreseen is not the ref's fault
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/lib/common.sh"

if [[ ${1-} == -h ]]; then
  manual
  exit 0
fi
[[ $# -ge 1 && $# -le 3 && $1 =~ ^[A-Za-z0-9_][A-Za-z0-9._-]*/[A-Za-z0-9._-]+$ && $1 != */. && $1 != */.. ]] \
  || fail 2 "usage: stage.sh OWNER/NAME [REF [COMMIT]] (-h explains)"
repository=$1 ref=${2-} commit=${3-}
object='^[0-9a-f]{40}([0-9a-f]{24})?$'
[[ $commit =~ ${commit:+$object} ]] || fail 2 "\"$commit\" is no commit (40 hexadecimal digits)"
[[ ! $ref =~ $object || ${commit:-$ref} == "$ref" ]] || fail 2 "$ref is another commit than $commit"
[[ ! $ref ]] || git check-ref-format --allow-onelevel "$ref" 2>/dev/null || fail 2 "\"$ref\" is no name of a ref"

settings=${SETTINGS-}
[[ $settings ]] || settings=$(wrapper config "$repository") || exit
unsettled() { fail 2 "SETTINGS is not what python -m wrapper.config prints"; }

# find_ref: asks the remote for $commit, and for the full name of $ref.
find_ref() {
  local url line object_name name
  local -A tips=() links=()
  url=$(jq -er '.settings.url | strings' <<<"$settings" 2>/dev/null) || unsettled
  line=$("$scripts/lib/remote-git.sh" ls-remote --symref -- "$url" HEAD ${ref:+"$ref" "$ref^{}"}) \
    || fail 75 "cannot read $url (does it exist, and may the token read it?)"
  while IFS=$'\t' read -r object_name name; do
    if [[ $object_name == "ref: "* ]]; then links[$name]=${object_name#ref: }; else tips[${name:-nothing}]=$object_name; fi
  done <<<"$line"
  if [[ ${ref:-HEAD} == HEAD ]]; then
    ref=${links[HEAD]-} commit=${commit:-${tips[HEAD]-}}
    [[ $ref && $commit ]] || fail 1 "$repository has no commit on a default branch yet (name a ref)"
    return
  fi
  [[ ! ${tips["refs/heads/$ref"]-} || ! ${tips["refs/tags/$ref"]-} ]] \
    || fail 1 "$repository has both a branch and a tag $ref (say refs/heads/$ref or refs/tags/$ref)"
  for name in "$ref" "refs/heads/$ref" "refs/tags/$ref"; do
    if [[ ${tips[$name]-} ]]; then
      # An annotated tag is an object of its own: the commit is what it peels to.
      ref=$name commit=${commit:-${tips["$name^{}"]-${tips[$name]}}}
      return
    fi
  done
  fail 1 "$repository has no branch or tag $ref"
}

if [[ $ref =~ $object ]]; then
  commit=$ref
elif [[ ! $commit || $ref != refs/* ]]; then
  find_ref
fi

# All but the head of build.json, and what common.sh would make of it: jq takes long to start.
mapfile -d '' -t made < <(jq -nj --argjson resolved "$settings" --arg repository "$repository" --arg ref "$ref" \
  --arg commit "$commit" --arg before "${BEFORE-}" --arg event "${EVENT-}" --arg source "${SOURCE:-manual}" '
  def given: if . == "" then null else . end;
  ($resolved.builds | strings), "\u0000",
  ({$repository, url: ($resolved.settings.url | strings), $ref, $commit, before: ($before | given),
    event: ($event | given), $source, staged_at: (now | todate), settings: $resolved.settings}
  | ., "\u0000", ('"$entries))" 2>/dev/null)
builds=${made[0]-}
[[ $builds && ${made[*]: -1} == end ]] || unsettled

folder=$builds/$repository
unwritten() { fail 75 "cannot write $folder (is the disk full?)"; }
mkdir -p -- "$folder" && exec {folder_lock}>"$folder/.lock" && flock "$folder_lock" || unwritten
# An ID sorts above all earlier ones, whatever the clock did.
dated='^([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})\.([0-9]{6})Z-'
stamp() { TZ=UTC0 printf -v stamp '%(%Y%m%dT%H%M%S)T.%sZ' "${micros:0:-6}" "${micros: -6}"; }
newest=''
for there in "$folder"/[0-9]*; do [[ ! ${there##*/} =~ $dated ]] || newest=${there##*/} part=("${BASH_REMATCH[@]:1}"); done
now micros
stamp
if [[ $newest && ! $stamp > ${newest%%-*} ]]; then
  micros=$(($(date -ud "${part[0]}-${part[1]}-${part[2]} ${part[3]}:${part[4]}:${part[5]}.${part[6]}" +%s%6N) + 1))
  stamp
fi
id=$stamp-${commit:0:7}

half=$folder/.staging
rm -rf -- "$half" && mkdir -- "$half" || unwritten
printf '{"format":1,"id":"%s",%s\n' "$id" "${made[1]#\{}" >"$half/build.json" \
  && sync -- "$half/build.json" "$half" && mv -T -- "$half" "$folder/$id" \
  && ln -sfn -- "$id" "$folder/.latest" && mv -T -- "$folder/.latest" "$folder/latest" && sync -- "$folder" || unwritten
# Last, for it counts while it is newer; and the clock of files is coarse.
{ printf '%s\0' format=1 "id=$id" "${made[@]:2}" >"$folder/$id/.build.kept"; } 2>/dev/null || true
{ : >"$builds/.wake"; } 2>/dev/null || true # a running poller looks at once
echo "$folder/$id"
