#!/usr/bin/env bash
# skips-ci.sh BUILD tells whether a build is to be skipped: its head commit asks for that, as with
# [skip ci], or nothing in `paths` has changed
#
# It is the one place that knows the marks, and whom all this concerns: pushes to branches. Tags,
# and builds a person asked for, are built whatever the commit says.
#
# Reads   build.json, and the settings skip_ci, paths and url; of the commit what builds/.cache/git
#         has, fetched where it is not there; for `paths`, how earlier builds of the branch ended.
#         It takes no lock of the build and writes nothing into it.
# Prints  where a mark skips it, the newest commit without one that the branch came by since
#         `before`; of a new branch, that no other branch has; nothing where there is none. Where
#         `paths` skip it, the commit of the branch's last build that ended as success or failure
#
# With BUILT=1 it only prints that commit, for a build that is to be sent elsewhere.
#
# Exit codes: 0 it is marked, 3 nothing in `paths` has changed since that build, 1 it is not to be
# skipped, 2 called wrongly, 75 it cannot be told
set -euo pipefail
shopt -s inherit_errexit nocasematch
# shellcheck disable=SC2034 # for fetches
keep_token=1
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/common.sh"
. "${self%/*}/paths.sh"
export LC_ALL=C # a commit's text can be any bytes
most=1000       # commits that are looked at, for one without a mark

# has COMMIT: does the mirror?
has() { in_mirror cat-file -e "$1^{commit}"; }

# is_marked TEXT: does a commit's text ask not to be built?
is_marked() {
  local words='\[ *(skip +(ci|actions)|(ci|actions) +skip|no +ci) *\]|\*\*\*no_ci\*\*\*'
  local trailer=$'(^|\n)skip-checks: *true *(\n|$)'
  [[ $1 =~ $words || $1 =~ $trailer ]]
}

# fetch_commit: the mirror has the commit, as clone.sh would see to later.
fetch_commit() {
  if has "$commit"; then
    return
  fi

  lock_cache "$mirror"
  if has "$commit"; then
    return # a clone has fetched it meanwhile
  fi

  if [[ ! -d $mirror ]]; then
    git init -q --bare -- "$mirror"
  fi

  fetch --prune -- "$url" '+refs/heads/*:refs/heads/*' '+refs/tags/*:refs/tags/*'
  if ! has "$commit"; then
    fetch -- "$url" "$commit"
  fi
}

# fetch ARGS...: into the mirror. git's housekeeping stays in the foreground; what it leaves
# running, say a credential cache, is not to hold the lock.
fetch() {
  "${self%/*}/remote-git.sh" -c gc.autoDetach=false -c maintenance.autoDetach=false \
    --git-dir="$mirror" fetch -q --force --no-write-fetch-head "$@" >&2 {cache_lock}>&-
}

# commits ARGS...: of each its name in a line and its text, NUL behind. Unlike git log, rev-list
# minds no setting of the operator's, such as log.showSignature.
commits() { in_mirror rev-list --encoding=UTF-8 --format='%B%x00' "$@"; }

# find_unmarked REVISION...: prints the newest commit among them without a mark.
find_unmarked() {
  local record name
  while IFS= read -r -d '' record; do
    record=${record#$'\n'}
    name=${record%%$'\n'*}
    if ! is_marked "${record#*$'\n'}"; then
      printf '%s\n' "${name#commit }"
      return
    fi
  done < <(commits --date-order --max-count="$most" "$@")
}

# fact_of RESULT KEY: prints a text of the build.json that stands beside a result.json.
fact_of() {
  local build=${1%/*}
  fact "$2"
}

# find_built: prints the commit of the branch's last build that ended as success or failure. Of one
# that is pruned state.json knows.
find_built() {
  local other status='"status":[[:space:]]*"([a-z]+)"'
  local -a others

  # A build that was sent to another machine has the answer with it, as others are not there.
  if [[ -f $build/.built ]]; then
    cat -- "$build/.built"
    return
  fi

  mapfile -d '' -t others < <(printf '%s\0' "${build%/*}"/[0-9]*/result.json | sort -rz)
  for other in "${others[@]}"; do
    # The first status in the file is the build's, later ones are those of its steps.
    if [[ ! -f $other || ! $(<"$other") =~ $status ]]; then
      continue
    fi

    if [[ ${BASH_REMATCH[1]} =~ ^(success|failure)$ && $(fact_of "$other" ref) == "$ref" ]]; then
      fact_of "$other" commit
      return
    fi
  done

  jq -r --arg ref "$ref" '.latest[$ref].built // ""' "${build%/*}/state.json" 2>/dev/null || true
}

# is_untouched: has nothing in `paths` changed since $built, neither in what is there now nor by a
# commit that a later one took back?
is_untouched() {
  touched=''
  with_pathspecs look_at
  [[ ! $touched ]]
}

# look_at PATHSPEC...: sets $touched where something has changed there, or cannot be compared.
look_at() {
  local commits

  if ! in_mirror diff-tree -r --quiet "$built" "$commit" -- "$@" \
    || ! commits=$(in_mirror rev-list --full-history -n 1 "$commit" "^$built" -- "$@") \
    || [[ $commits ]]; then
    touched=touched
  fi
}

if [[ ${1-} == -h ]]; then
  manual
  exit 0
fi

if [[ $# -ne 1 || ! -f ${1-}/build.json ]]; then
  fail 2 "usage: skips-ci.sh BUILD, a build directory (-h explains)"
fi

# Others may be at work on the build: complain is to leave no message there.
AHEAD=1
build=$(cd -P -- "$1" && pwd)
builds=${build%/*/*/*}
entry=${build#"$builds/"} entry=${entry%/*}
ref=$(fact ref)
source=$(fact source)
commit=$(fact commit)
if [[ -d $build/settings ]]; then
  skip_ci=$(setting skip_ci)
  url=$(setting url)
else # a version without settings/ has staged it
  skip_ci=$(jq -r '.settings.skip_ci | if . == null then true else . end' "$build/build.json")
  url=$(fact url)
fi

mirror=$builds/.cache/git/$(repository).git
list_setting patterns paths
if [[ -e $build/rerun ]]; then
  exit 1 # somebody wants it
fi

if [[ $ref != refs/heads/* || ! $source =~ ^(event|sweep)$ ]]; then
  exit 1
fi

if [[ $skip_ci == false && ${#patterns[@]} -eq 0 ]]; then
  exit 1
fi

if [[ ${BUILT-} ]]; then
  find_built
  exit 0
fi

if ! fetch_commit; then
  fail 75 "cannot fetch $commit from $url"
fi

if ! text=$(commits --max-count=1 "$commit" | tr -d '\0') || [[ ! $text ]]; then
  fail 75 "cannot read $commit in $mirror"
fi

if [[ $skip_ci == false ]] || ! is_marked "${text#*$'\n'}"; then
  if [[ ${#patterns[@]} -eq 0 ]]; then
    exit 1
  fi

  built=$(find_built)
  if [[ $built ]] && has "$built" && is_untouched; then
    echo "$built"
    exit 3
  fi

  exit 1
fi

before=$(jq -r '.before // ""' "$build/build.json")
if [[ $before ]] && has "$before"; then
  find_unmarked "$commit" "^$before"
else # a new branch, or one that was pushed over
  find_unmarked "$commit" --not --exclude="$ref" --glob='refs/heads/*'
fi
