#!/usr/bin/env bash
# prune-nodes.sh BUILD makes room on the machines that builds were sent to
#
# BUILD says which engine: the newest one there is. prune.sh calls this, which then runs there, too:
# on each machine, once an hour at most, on its folder `engine.work`, with its images and caches.
# Jobs of builds that have ended go, and what such have left on the shared folder.
#
# Exit codes: 0 done, 2 called wrongly
set -euo pipefail
shopt -s inherit_errexit nullglob
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/common.sh"

# is_out BUILD: is it at work on another machine, or on the way there or back?
is_out() { [[ -L $builds/$1/lock ]]; }

if [[ ${1-} == -h ]]; then
  manual
  exit 0
fi

if [[ $# -ne 1 || ! -f ${1-}/build.json ]]; then
  fail 2 "usage: prune-nodes.sh BUILD, a build directory (-h explains)"
fi

build=$(cd -P -- "$1" && pwd)
builds=${build%/*/*/*}
kind=$(setting engine/kind)
shared=$(setting engine/shared)
work=$(setting engine/work)
image=$(setting engine/image)
if [[ ! $kind || ! -d $shared ]]; then
  exit 0
fi

# shellcheck source=scripts/lib/swarm.sh
. "$scripts/lib/$kind.sh"

cd -- "$shared"
for sent in */*/[0-9]*T*Z-*; do
  # (What is new may be on its way.)
  if ! is_out "${sent%.half}" && [[ -n $(find "$sent" -maxdepth 0 -mmin +10) ]]; then
    rm -rf -- "$sent"
  fi
done

while read -r job label; do
  if ! is_out "$label"; then
    job_end
  fi
done < <(jobs_of_builds)

# What the poller has no more, no machine needs.
cd -- "$builds"
printf '%s\n' */*/[0-9]*T*Z-* >"$shared/.builds.tmp"
mv -- "$shared/.builds.tmp" "$shared/.builds"
if [[ -z $(find "$shared/.pruned" -mmin -60 2>/dev/null) ]]; then
  : >"$shared/.pruned"
  job=docker-build-server-prune-$(cksum <<<"$shared" | cut -d ' ' -f 1)
  job_everywhere "KEPT=$shared/.builds" /scripts/prune.sh "$work"
fi
