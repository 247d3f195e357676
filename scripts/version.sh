#!/usr/bin/env bash
# version.sh BUILD tells the version of the commit, and the tags and labels of its image
#
# Reads     build.json, src/: tags, history and the package.json in `context`, all as committed
# Writes    version   one line, the SemVer
#           tags      image tags to publish, one a line, the full version first, `latest` last
#           labels    KEY=VALUE, one a line, for docker build --label
# Settings  tag_prefix           git tags that begin with it count, and no others; and of the
#                                commits those that touch `paths`, else `context`
#           version.from         tags, package.json or auto: by tags where the history has a SemVer
#                                one, else by package.json
#           version.prerelease   an identifier to stand for the branch's name in pre-releases
#           publish              templates of the image tags
# EARLIER=FOLDER: the repository's builds are there, for `withdrawn` and for a release that was red.
#
# A tag vX.Y.Z, with or without v, is the version of its commit. With `from: package.json` so is a
# version that a commit of the default branch brings; and one that build.json names, where
# package.json has that. Any other commit is X.Y.Z-BRANCH.N.gSHA, a
# pre-release of what comes next after the releases in its history (BRANCH is `detached` for a
# commit built without one): by Conventional Commits or a footer `Release-As: X.Y.Z`, or a patch
# with `from: package.json`. After X.Y.Z-PRE, a pre-release of that, it is X.Y.Z-PRE.BRANCH.N.gSHA.
# 1.2, 1 and latest move to releases only, and never back. Where no template of `publish` gives a
# tag, it says so, and why; the build goes on.
#
# Exit codes: 0 done, 1 no version for it (a tag that is no SemVer), 2 called wrongly, 69 locked,
# 75 src/ unreadable
set -euo pipefail
shopt -s inherit_errexit
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/lib/common.sh"
. "${self%/*}/lib/paths.sh"

# gather: prints what git says, in the form that wrapper/version/facts.py describes. It ends before
# that where something is damaged: git passes over some of that, as if it were not there.
gather() {
  local package=./$context/package.json packed=$build/src/.git/packed-refs
  local commits='' default entry sha tag_of_commit
  # Of a tag the commit that it leads to; of one on a file or a tree an empty line.
  tag_of_commit='%(if:equals=commit)%(objecttype)%(then)%(objectname) %(refname)%(end)'
  tag_of_commit+='%(if:equals=commit)%(*objecttype)%(then)%(*objectname) %(refname)%(end)'

  in_src log -z --topo-order --encoding=UTF-8 --format='%H %P%n%cI%n%B' "$commit" --
  printf '\0'

  # In an empty file git finds no tags, but a clone writes at least this line. (With the format
  # reftable there is no such file, and git checks its sums.)
  if [[ ! -d ${packed%/*}/reftable && $(<"$packed") != '# pack-refs with:'* ]]; then
    echo "version.sh: $packed is damaged" >&2
    exit 1
  fi

  in_src show-ref --tags >/dev/null || [[ $? -eq 1 ]] # it ends with more where one is damaged
  in_src for-each-ref --format="$tag_of_commit" refs/tags
  printf '\0'

  if [[ $prefix ]]; then
    list_touching
  fi

  printf '\0'

  default=$(in_src symbolic-ref -q refs/remotes/origin/HEAD) || [[ $? -eq 1 ]] # there is none
  if [[ $default ]]; then
    in_src show-ref --verify -- "$default" >/dev/null
  fi

  # Those that removed it, or made it a submodule, are left out: the others are all to be found.
  if [[ $from != tags && $default ]]; then
    commits=$(in_src log --first-parent --diff-filter=AMT --ignore-submodules --format=%H \
      "$default" -- "$package")
  fi

  printf '%s\0' "$commits"

  # What the tree names is to be found; of a file that is lost cat-file says "missing", as of none.
  entry=$(in_src ls-tree "$commit" -- "$package")
  if [[ $entry =~ ^[0-9]+\ blob ]]; then
    in_src cat-file -t "$commit:$package" >/dev/null
  fi

  while read -r sha; do
    printf '%s:%s\n' "$sha" "$package"
  done <<<"$commit${commits:+$'\n'$commits}" | in_src cat-file --batch --buffer --follow-symlinks

  printf '\0end'
}

# list_touching: prints the commits that change something in `paths`, else in `context`. Of a merge
# it is the change to what it was merged into.
list_touching() {
  if [[ ${#patterns[@]} -gt 0 ]]; then
    with_pathspecs list_changing
  elif [[ $context == . ]]; then
    in_src rev-list "$commit" --
  else
    list_changing ":(literal)$context"
  fi
}

# list_changing PATHSPEC...: prints the commits that change something there.
list_changing() {
  in_src rev-list --parents "$commit" -- | cut -d ' ' -f 1,2 \
    | in_src diff-tree --stdin --root -r -s -- "$@"
}

open_build "$@"
need src
commit=$(fact commit)
context=$(<"$build/settings/context")
from=$(<"$build/settings/version/from")
prefix=$(setting tag_prefix)
list_setting patterns paths

# Python starts while git works. It prints the three files, and what else there is to say; or just
# why there is no version.
mapfile -d '' -t result < <(gather | wrapper version "$build" "${EARLIER:-${build%/*}}")
if [[ ${#result[@]} -eq 0 ]]; then
  fail 75 "cannot tell the version of $build/src (the reason is above; start over, from clone)"
fi

if [[ ${#result[@]} -eq 1 ]]; then
  fail 1 "${result[0]}"
fi

version=${result[0]%$'\n'} tags=${result[1]%$'\n'} unpublished=${result[6]-}

# The first three are private: for unit-test.sh, of the commit, before an install may change src/;
# for plan and why, where the version comes from; for the pipeline, should the build fail.
leave .no-test "${result[3]-}" .origin "${result[4]-}" .if-red "${result[5]-}" \
  labels "${result[2]}" tags "${result[1]}" version "${result[0]}"
while read -r line; do
  echo "version.sh: $line"
done <"$build/.origin"

if [[ $unpublished ]]; then
  echo "version.sh: $version, $unpublished"
else
  echo "version.sh: $version, published as ${tags//$'\n'/ }"
fi
