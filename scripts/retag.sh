#!/usr/bin/env bash
# retag.sh NAME@DIGEST TAG... sets tags of an image that is in the registry already
#
# NAME     REGISTRY/REPOSITORY; DIGEST sha256:…, of what is there
# Nothing is pulled: skopeo sets each tag in the registry, one after the other, and asks afterwards
# whether it is so. Credentials are those of `docker login`.
#
# Exit codes: 0 done, 2 called wrongly, 75 the registry, or it refuses: tags before that are set
set -euo pipefail
shopt -s inherit_errexit
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/lib/common.sh"
. "${self%/*}/lib/registry.sh"

is_image='^[^@[:space:]]+/[^@[:space:]]+@sha256:[0-9a-f]{64}$'
is_tag='^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$'

if [[ ${1-} == -h ]]; then
  manual
  exit 0
fi

if [[ $# -lt 2 || ! $1 =~ $is_image ]]; then
  fail 2 "usage: retag.sh NAME@DIGEST TAG... (-h explains)"
fi

for tag in "${@:2}"; do
  if [[ ! $tag =~ $is_tag ]]; then
    fail 2 "\"$tag\" is no image tag"
  fi
done

name=${1%@*}
wanted=${1##*@}
build=$(mktemp -d) # for what the functions keep
trap 'rm -rf -- "$build"' EXIT
prepare_skopeo

for tag in "${@:2}"; do
  set_tag "$tag" "$wanted"
  if ! ask "$tag" || [[ $digest != "$wanted" ]]; then
    fail 75 "the registry shows ${digest:-nothing} as $name:$tag, which was just set (try again)"
  fi
done
