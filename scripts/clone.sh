#!/usr/bin/env bash
# clone.sh BUILD puts the source at exactly the build's commit into src/
#
# Reads   build.json, and the setting url
# Writes  src/     the work tree, its HEAD detached at the commit; all tags and history, submodules,
#                  LFS files
#         commit   the commit's author, and its subject, a line each
# Keeps   builds/.cache/git/OWNER/NAME.git, a mirror: one fetch a build, hard links from there. It
#         may be deleted at any time; damaged, it is made anew.
# HISTORY_ONLY=1 leaves submodules and LFS files out (so `plan` does).
# Needs   git-lfs, where the repository uses Git LFS. A token, where git asks for one:
#         lib/remote-git.sh.
#
# Exit codes: 0 done, 1 the commit is gone from the remote, 2 called wrongly, 69 locked,
# 75 remote or disk trouble
set -euo pipefail
shopt -s inherit_errexit
# shellcheck disable=SC2034 # for fetches
keep_token=1
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/lib/common.sh"

# remote ARGS...: git on the network; its housekeeping stays in the foreground.
remote() {
  without_locks "$scripts/lib/remote-git.sh" \
    -c gc.autoDetach=false -c maintenance.autoDetach=false "$@"
}

# get_commit: fetches into the mirror, and makes $half of it. The functions below are called in a
# condition, where `set -e` is off: hence each ends with its own `|| return`.
get_commit() {
  fetch_refs || return
  follow_default_branch || return
  fetch_commit || return
  check_out
}

# fetch_refs: the mirror knows what the remote knows. The pattern for HEAD also fits where there is
# none.
fetch_refs() {
  local -a quiet=()
  if [[ ! -d $mirror ]]; then
    git init -q --bare -- "$mirror" || return
    quiet=(-q) # else it has a line for each ref there is
  fi

  # A fetch that was ended half-way leaves what it had.
  rm -f -- "$mirror"/objects/pack/tmp_*
  LC_ALL=C watch remote --git-dir="$mirror" fetch "${quiet[@]}" --force --prune \
    --no-write-fetch-head -- "$url" \
    '+refs/heads/*:refs/heads/*' '+refs/tags/*:refs/tags/*' '+HEA*:refs/remote/HEA*' || return
  if [[ ${quiet[*]} ]]; then
    in_mirror pack-refs --all || return # with 50,000 branches each later fetch is 3 s faster
  fi

  if [[ -s $mirror/shallow ]] || said 'shallow roots are not allowed to be updated'; then
    rm -rf -- "$mirror"
    fail 1 "$url is a shallow repository: without its history there is no version (push it whole)"
  fi
}

# follow_default_branch: the mirror's HEAD names the default branch, which version.sh asks for. The
# remote is asked for the name only when its HEAD is not at ours.
follow_default_branch() {
  local heads answer names_default=$'^ref: ([^\t]+)\tHEAD'

  # Of what is not there rev-parse prints the name, and ends.
  mapfile -t heads < <(in_mirror rev-parse refs/remote/HEAD HEAD)
  if [[ ${heads[0]-} == "${heads[1]-}" || ${heads[0]-} == refs/remote/HEAD ]]; then
    return 0
  fi

  answer=$(remote ls-remote --symref -- "$url" HEAD) || return
  if [[ $answer =~ $names_default ]]; then
    in_mirror symbolic-ref HEAD "${BASH_REMATCH[1]}"
  fi
}

# fetch_commit: the mirror has the commit, which no ref may name any more.
fetch_commit() {
  if in_mirror cat-file -e "$commit^{commit}"; then
    return 0
  fi

  if LC_ALL=C watch remote --git-dir="$mirror" fetch --no-write-fetch-head -- "$url" "$commit"; then
    return 0
  fi

  if said 'not our ref|unadvertised object'; then
    fail 1 "commit $commit is gone from $url (pushed over? push again, or build another commit)"
  fi

  return 1
}

# check_out: makes $half, a work tree of the commit. No filter runs: LFS files come later. git ends
# with 0 and an "error:" where it could not convert a file, which is there, or not read one, which
# is not.
check_out() {
  remove_tree "$half"
  git clone -q --no-checkout -- "$mirror" "$half" || return
  git -C "$half" remote set-url origin "$url" || return
  if ! LC_ALL=C watch git -C "$half" "${unfiltered[@]}" -c advice.detachedHead=false \
    checkout -q --detach "$commit"; then
    blame_checkout
    return 1
  fi

  if said '^error: (packfile|unable to read|inflate|.*corrupt)'; then
    return 1
  fi

  if said '^error: ' && [[ -n $(git -C "$half" ls-files --deleted) ]]; then
    blame_checkout
    return 1
  fi

  git -C "$half" rev-list --quiet "$commit"
}

# blame_checkout: fails where the mirror has all of the commit, and the disk has room: then it is
# the repository that git will not check out. Else the mirror may be damaged.
blame_checkout() {
  local reason
  reason=$(last_words)
  if no_room; then
    fail 75 "cannot write $half: $reason (df shows which disk is full)"
  fi

  if mirror_is_whole; then
    fail 1 "git does not check out $commit: $reason"
  fi
}

# mirror_is_whole: can each file of the commit be read from it?
mirror_is_whole() {
  in_mirror ls-tree -r --full-tree "$commit" >"$build/.tree" || return
  sed -n 's/^[0-9]* blob \([0-9a-f]*\)\t.*/\1/p' "$build/.tree" >"$build/.blobs"
  if in_mirror cat-file --batch-check <"$build/.blobs" | grep ' missing$' >/dev/null; then
    return 1
  fi

  in_mirror cat-file --batch --buffer <"$build/.blobs" >/dev/null
}

# fetch_submodules: at the commits that the tree names. What the mirror has of them is not fetched
# again, and it gets what it lacked.
fetch_submodules() {
  local head folder name

  if ! LC_ALL=C watch remote -C "$half" "${unfiltered[@]}" \
    submodule update --init --recursive --reference "$mirror" --dissociate; then
    blame_submodule
  fi

  while IFS= read -r -d '' head; do
    folder=${head%/HEAD}
    name=$(sha1sum <<<"${folder#"$half"}")
    in_mirror fetch -q --no-write-fetch-head -- "$folder" "+HEAD:refs/submodules/${name%% *}.head" \
      "+refs/remotes/origin/*:refs/submodules/${name%% *}/*" || true
  done < <(find "$half/.git/modules" -name HEAD ! -path '*/logs/*' ! -path '*/refs/*' -print0)
}

# blame_submodule: a commit that its remote lacks, or a path without an entry in .gitmodules, is the
# repository's fault. These are git's own words, as no code of a stranger runs here.
blame_submodule() {
  local reason
  reason=$(grep -E '^(fatal|error): ' "$build/.said" | tail -n 1) || reason=$(last_words)
  reason=${reason#*: }
  if said 'did not contain|not our ref|unadvertised object|upload-pack: not our ref'; then
    fail 1 "a submodule's commit is not in its remote: $reason (push it there)"
  fi

  if said 'No url found for submodule path'; then
    reason=$(grep -m 1 'No url found for submodule path' "$build/.said")
    fail 1 "${reason#*: } (add it there, or remove the entry from the tree)"
  fi

  if said 'Permission denied \(publickey|Host key verification failed|ssh: '; then
    fail 75 "cannot fetch a submodule by ssh: $reason" \
      "(the token is for https: have .gitmodules name such a url)"
  fi

  fail 75 "cannot fetch a submodule: $reason" \
    "(is its url in .gitmodules right, and may the token read it?)"
}

# fetch_lfs_files: into the mirror, where later builds find them, and from there. The link to it is
# there for the pull alone.
fetch_lfs_files() {
  # shellcheck disable=SC2016 # for git's shell to expand
  local pull='lfs=$(git rev-parse --absolute-git-dir)/lfs
    rm -rf -- "$lfs" && ln -s "$LFS_STORAGE" "$lfs"
    git lfs install --local >/dev/null && git lfs pull
    code=$?
    rm -f -- "$lfs"
    exit "$code"'

  if ! git lfs version >/dev/null 2>&1; then
    fail 75 "the repository keeps files in Git LFS, which this host lacks (install git-lfs)"
  fi

  if [[ -n $(find "$half" -name .git -prune -o -name .lfsconfig -type l -print -quit) ]]; then
    fail 1 ".lfsconfig is a symbolic link, and may lead anywhere (make it a file of the repository)"
  fi

  mkdir -p -- "$mirror/lfs"
  export LFS_STORAGE=$mirror/lfs
  if ! remote -C "$half" -c alias.files="!$pull" files; then
    fail 75 "cannot fetch the repository's Git LFS files (git's reason is above)"
  fi

  if [[ -f $half/.gitmodules ]] \
    && ! remote -C "$half" submodule --quiet foreach --recursive "$pull"; then
    fail 75 "cannot fetch the Git LFS files of a submodule (git's reason is above)"
  fi
}

open_build "$@"
umask 022 # for what becomes an image, whatever the operator's is
url=$(<"$build/settings/url")
commit=$(fact commit)
mirror=$cache/git/$(repository).git
half=$build/.src.tmp
unfiltered=(-c filter.lfs.process= -c filter.lfs.smudge= -c filter.lfs.required=false)

echo "clone.sh: $entry, $(fact ref) at $commit"
lock_cache "$mirror"
if ! get_commit; then
  if ! remote ls-remote -- "$url" HEAD >/dev/null; then
    fail 75 "cannot fetch $url (is it there, and may the token read it?)"
  fi

  echo "clone.sh: the mirror may be damaged; making it anew"
  rm -rf -- "$mirror"
  if ! get_commit; then
    rm -rf -- "$mirror" # half a fetch may be what fills the disk
    fail 75 "cannot clone $url (git's reason is above; is the disk full?)"
  fi
fi

if [[ ! ${HISTORY_ONLY-} && -f $half/.gitmodules ]]; then
  fetch_submodules
fi

if [[ ! ${HISTORY_ONLY-} ]] && git -C "$half" grep -q --recurse-submodules 'filter=lfs' \
  -- ':(glob)**/.gitattributes'; then
  fetch_lfs_files
fi

flock -u "$cache_lock" # what git may have left running is to hold it no longer
remove_tree "$build/src"
mv -T -- "$half" "$build/src"
leave commit "$(in_src log -1 --format='%an%n%s')"$'\n'
