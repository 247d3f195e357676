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
. "${self%/*}/lib.sh"
open_build "$@"
need src
read_build commit settings.{context,version.from}
package=./$context/package.json

facts=$(mktemp -d) || fail 75 "cannot write to ${TMPDIR:-/tmp} (is the disk full?)"
trap 'rm -rf -- "$facts"' EXIT

# src ARGS...: git, in the checkout.
src() { git -C "$build/src" "$@"; }

# gather: what git says, in the files that wrapper/facts.py describes. Called in a condition: hence every &&.
gather() {
  src log -z --topo-order --no-show-signature --format='%H %P%n%cI%n%B' "$commit" -- >"$facts/log" \
    && { src show-ref --tags --dereference >"$facts/tags" || [[ $? -eq 1 ]]; } \
    && : >"$facts/line" \
    && if [[ $from != tags ]] && src rev-parse -q --verify refs/remotes/origin/HEAD >/dev/null; then
      src log --first-parent --format=%H refs/remotes/origin/HEAD -- "$package" >"$facts/line"
    fi \
    && while read -r sha; do printf '%s:%s\n' "$sha" "$package"; done < <(echo "$commit" && cat -- "$facts/line") \
    | src cat-file --batch --buffer --follow-symlinks >"$facts/packages"
}

gather || fail 75 "git cannot read $build/src (its reason is above; start over, from clone)"
if ! wrapper version "$build/build.json" "$facts" >"$facts/result"; then
  [[ -s $facts/result ]] || fail 75 "the version could not be worked out (the reason is above)"
  fail 1 "$(<"$facts/result")"
fi
mapfile -d '' -t result <"$facts/result"
leave labels "${result[2]}"
leave tags "${result[1]}"
leave version "${result[0]}"
tags=${result[1]%$'\n'}
echo "version.sh: ${result[0]%$'\n'}, published as ${tags//$'\n'/ }"
