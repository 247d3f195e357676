#!/usr/bin/env bash
# version.sh BUILD: the version of the commit, and the tags and labels of its image
#
# Reads     build.json, src/: tags, history and the package.json in `context`, all as committed
# Writes    version   one line, the SemVer
#           tags      image tags to publish, one a line, the full version first, `latest` last
#           labels    KEY=VALUE, one a line, for docker build --label
# Settings  version.from         tags, package.json or auto: by tags where the history has a SemVer one, else by package.json
#           version.prerelease   an identifier to stand for the branch's name in pre-releases
#           publish              templates of the image tags
#
# A tag vX.Y.Z, with or without v, is the version of its commit. With `from: package.json` so is a version that
# a commit of the default branch brings. Any other commit is X.Y.Z-BRANCH.N.gSHA, a pre-release of what comes next
# after the releases in its history (BRANCH is `detached` for a commit built without one): by Conventional Commits,
# or a patch with `from: package.json`. 1.2, 1 and latest move to releases only, and never back.
#
# Exit codes: 0 done, 1 no version for it (a tag that is no SemVer), 2 called wrongly, 69 locked, 75 src/ unreadable
set -euo pipefail
shopt -s inherit_errexit
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/lib/common.sh"
open_build "$@"
need src
read_build commit settings.{context,version.from}
package=./$context/package.json

# src ARGS...: git, in the checkout.
src() { git -C "$build/src" "$@"; }

# gather: what git says, in the form that wrapper/facts.py describes.
gather() {
  local sha line=''
  src log -z --topo-order --no-show-signature --format='%H %P%n%cI%n%B' "$commit" --
  printf '\0'
  src show-ref --tags --dereference || [[ $? -eq 1 ]] # there is none
  printf '\0'
  if [[ $from != tags ]] && src rev-parse -q --verify refs/remotes/origin/HEAD >/dev/null; then
    line=$(src log --first-parent --format=%H refs/remotes/origin/HEAD -- "$package")
  fi
  printf '%s\0' "$line"
  while read -r sha; do printf '%s:%s\n' "$sha" "$package"; done <<<"$commit${line:+$'\n'$line}" \
    | src cat-file --batch --buffer --follow-symlinks
  printf '\0end'
}

# Python starts while git works.
mapfile -d '' -t result < <(gather | wrapper version "$build/build.json")
[[ ${#result[@]} -gt 0 ]] || fail 75 "cannot tell the version of $build/src (the reason is above; start over, from clone)"
[[ ${#result[@]} -gt 1 ]] || fail 1 "${result[0]}"
leave labels "${result[2]}"
leave tags "${result[1]}"
leave version "${result[0]}"
tags=${result[1]%$'\n'}
echo "version.sh: ${result[0]%$'\n'}, published as ${tags//$'\n'/ }"
