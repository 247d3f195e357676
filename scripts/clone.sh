#!/usr/bin/env bash
# clone.sh BUILD: the source at exactly the build's commit
#
# Reads   build.json
# Writes  src/   the work tree, its HEAD detached at `commit`; all tags and history, submodules, Git LFS files
# Keeps   builds/.cache/git/OWNER/NAME.git, a mirror: one fetch a build, hard links from there. It may be deleted
#         at any time; damaged, it is made anew.
# Needs   git-lfs, where the repository uses Git LFS. A token, where git asks for one: see remote-git.sh.
#
# Exit codes: 0 done, 1 the commit is gone from the remote, 2 called wrongly, 69 locked, 75 remote or disk trouble
set -euo pipefail
shopt -s inherit_errexit
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/lib/common.sh"
open_build "$@"
read_build repository url ref commit

echo "clone.sh: $repository, $ref at $commit"
mirror=$cache/git/$repository.git
half=$build/.src.tmp
mkdir -p -- "${mirror%/*}" && exec {mirror_lock}>"$mirror.lock" && flock "$mirror_lock" \
  || fail 75 "cannot write ${mirror%/*} (is the disk full?)"

# What git leaves behind (a credential cache, say) is to hold no lock; its housekeeping stays in the foreground.
remote() { "$scripts/lib/remote-git.sh" -c gc.autoDetach=false -c maintenance.autoDetach=false "$@" {LOCK_FD}>&- {mirror_lock}>&-; }

# By --git-dir: with -C git would look for a repository further up, should this one be damaged.
in_mirror() { git --git-dir="$mirror" "$@" 2>/dev/null; }

# The functions below are called in a condition, where `set -e` is off: hence every &&.

# fetch: the mirror knows what the remote knows. Its HEAD names the default branch, which version.sh asks for;
# the name is asked for only when the remote's HEAD (by a pattern: it may have none) is not at ours.
fetch() {
  local head heads
  { [[ -d $mirror ]] || git init -q --bare -- "$mirror"; } \
    && LC_ALL=C observe remote --git-dir="$mirror" fetch --force --prune --no-write-fetch-head -- "$url" \
      '+refs/heads/*:refs/heads/*' '+refs/tags/*:refs/tags/*' '+HEA*:refs/remote/HEA*' || return
  mapfile -t heads < <(in_mirror rev-parse refs/remote/HEAD HEAD) # of what is not there it prints the name, and ends
  [[ ${heads[0]-} != "${heads[1]-}" && ${heads[0]-} != refs/remote/HEAD ]] || return 0
  head=$(remote ls-remote --symref -- "$url" HEAD) || return
  [[ $head != "ref: "* ]] || in_mirror symbolic-ref HEAD "$(sed -n 's/^ref: \(.*\)\tHEAD$/\1/p' <<<"$head")"
}

# check_out: a work tree of the commit, which no ref may name any more. No filter runs: LFS files come later.
# Git passes over a file that it cannot read with an "error:", and exits with 0.
check_out() {
  in_mirror cat-file -e "$commit^{commit}" \
    || LC_ALL=C observe remote --git-dir="$mirror" fetch --no-write-fetch-head -- "$url" "$commit" \
    || { ! said 'not our ref|unadvertised object' && return 1; } \
    || fail 1 "commit $commit is gone from $url (pushed over? push again, or build another commit)"
  rm -rf -- "$half"
  git clone -q --local --no-checkout -- "$mirror" "$half" \
    && git -C "$half" remote set-url origin "$url" \
    && LC_ALL=C observe git -C "$half" "${unfiltered[@]}" -c advice.detachedHead=false checkout -q --detach "$commit" \
    && ! said '^error: ' && git -C "$half" rev-list --quiet "$commit"
}

unfiltered=(-c filter.lfs.process= -c filter.lfs.smudge= -c filter.lfs.required=false)
if ! { fetch && check_out; }; then
  remote ls-remote -- "$url" HEAD >/dev/null || fail 75 "cannot fetch $url (is it there, and may the token read it?)"
  echo "clone.sh: the mirror may be damaged; making it anew"
  rm -rf -- "$mirror"
  # Half a fetch is not left behind: it may be what fills the disk.
  fetch && check_out || { rm -rf -- "$mirror" && fail 75 "cannot clone $url (git's reason is above; is the disk full?)"; }
fi
flock -u "$mirror_lock"

if [[ -f $half/.gitmodules ]]; then
  remote -C "$half" "${unfiltered[@]}" submodule update --init --recursive \
    || fail 75 "cannot fetch a submodule (is its url in .gitmodules right, and may the token read it?)"
fi
if git -C "$half" grep -q --recurse-submodules 'filter=lfs' -- ':(glob)**/.gitattributes'; then
  git lfs version >/dev/null 2>&1 || fail 75 "the repository keeps files in Git LFS, which this host lacks (install git-lfs)"
  [[ -z $(find "$half" -name .git -prune -o -name .lfsconfig -type l -print -quit) ]] \
    || fail 1 ".lfsconfig is a symbolic link, and may lead anywhere (make it a file of the repository)"
  lfs='git lfs install --local >/dev/null && git lfs pull'
  remote -C "$half" -c alias.files="!$lfs" files && remote -C "$half" submodule --quiet foreach --recursive "$lfs" \
    || fail 75 "cannot fetch the repository's Git LFS files (git's reason is above)"
fi
rm -rf -- "$build/src"
mv -T -- "$half" "$build/src"
