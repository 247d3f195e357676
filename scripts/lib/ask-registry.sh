#!/usr/bin/env bash
# ask-registry.sh NAME [TAG...] prints what the registry has of an image, for the wrapper
#
# NAME     REGISTRY/REPOSITORY
# Prints   without a TAG all tags, one a line; else of each that is there `TAG DIGEST`
#
# Exit codes: 0 done, 2 called wrongly, 75 the registry
set -euo pipefail
shopt -s inherit_errexit
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/common.sh"
. "${self%/*}/registry.sh"

if [[ ${1-} == -h ]]; then
  manual
  exit 0
fi

if [[ ${1-} != */* ]]; then
  fail 2 "usage: ask-registry.sh NAME [TAG...] (-h explains)"
fi

name=$1
build=$(mktemp -d) # for what the functions keep
trap 'rm -rf -- "$build"' EXIT
prepare_skopeo

if [[ $# -eq 1 ]]; then
  if ! list=$(skopeo list-tags --tls-verify="$tls" -- "docker://$name" 2>&1); then
    if [[ $list == *"name unknown"* || $list == *"code from registry 404"* ]]; then
      exit 0
    fi

    fail_to_ask "" "$(last_words_of_skopeo "$list")"
  fi

  jq -r '.Tags[]' <<<"$list"
  exit 0
fi

ask_all "${@:2}"
for tag in "${@:2}"; do
  if ask "$tag"; then
    echo "$tag $digest"
  fi
done
