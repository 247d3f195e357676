#!/usr/bin/env bash
# skips-ci.sh BUILD tells whether the build's head commit asks not to be built, as with [skip ci]
#
# It is the one place that knows the marks, and whom they concern: pushes to branches, where the
# setting skip_ci is true. Tags, and builds a person asked for, are built whatever the commit says.
#
# Reads   build.json, and the settings skip_ci and url; of the commit what builds/.cache/git has,
#         fetched where it is not there. It takes no lock of the build and writes nothing into it.
# Prints  where it is to be skipped, the newest commit without a mark that the branch came by since
#         `before`; of a new branch, that no other branch has; nothing where there is none
#
# Exit codes: 0 it is to be skipped, 1 it is not, 2 called wrongly, 75 it cannot be told
set -euo pipefail
shopt -s inherit_errexit nocasematch
# shellcheck disable=SC2034 # for fetches
keep_token=1
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/common.sh"
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
if [[ -e $build/rerun ]]; then
  exit 1 # somebody wants it
fi
if [[ $skip_ci == false || $ref != refs/heads/* || ! $source =~ ^(event|sweep)$ ]]; then
  exit 1
fi

if ! fetch_commit; then
  fail 75 "cannot fetch $commit from $url"
fi
if ! text=$(commits --max-count=1 "$commit" | tr -d '\0') || [[ ! $text ]]; then
  fail 75 "cannot read $commit in $mirror"
fi
if ! is_marked "${text#*$'\n'}"; then
  exit 1
fi

before=$(jq -r '.before // ""' "$build/build.json")
if [[ $before ]] && has "$before"; then
  find_unmarked "$commit" "^$before"
else # a new branch, or one that was pushed over
  find_unmarked "$commit" --not --exclude="$ref" --glob='refs/heads/*'
fi
