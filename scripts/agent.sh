#!/usr/bin/env bash
# agent.sh BUILD runs a build that launch.sh has sent to this machine, on this machine's own disk
#
# Reads     BUILD, on the folder that all machines share: build.json, settings and what earlier
#           steps have left. WORK (in the environment) is the folder for builds and caches here
# Writes    BUILD/console.log and BUILD/steps as they grow, by links; at the end what the steps have
#           left, result.json last
# The build's lock is the one on the shared folder. When that has gone to another machine, when the
# folder is lost, or BUILD/cancelled is there, the build ends itself.
#
# Exit codes: those of pipeline.sh; 0 too where it has ended already, 69 another works on it, or has
# taken it over, 75 this machine is not fit for it
set -euo pipefail
shopt -s inherit_errexit nullglob
# shellcheck disable=SC2034 # for clone.sh
keep_token=1
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/lib/common.sh"
. "${self%/*}/lib/steps.sh"
. "${self%/*}/lib/carry.sh"

# watch_over: ends the pipeline where the build is not ours to go on with. A shared folder that
# hangs is lost, too.
watch_over() {
  while sleep 1; do
    if ! timeout -k 1 10 grep -qsF -- " $LOCK_TOKEN" "$build/lock"; then
      echo "agent.sh: the build was taken over, or $build is lost" >&2
      kill -TERM "$pipeline"
      return
    fi

    if [[ -e $build/cancelled ]]; then
      : >"$work/cancelled"
      kill -TERM "$pipeline"
      return
    fi
  done
}

if [[ ! ${GITHUB_TOKEN_FILE-} && -f ${SECRETS-}/github-token ]]; then
  export GITHUB_TOKEN_FILE=$SECRETS/github-token
fi

node=${NODE:-$HOSTNAME}
HOSTNAME=job@$node # its process IDs are not those of the poller's machine, whatever that is called
take_build "$@"
if [[ -e $build/result.json || -e $build/.result.json ]]; then
  exit 0
fi

# What is wrong with this machine is found before the build has begun: another may take it.
work=${WORK:?names the folder for builds here}/$entry/${build##*/}
if ! mkdir -p -- "$work"; then
  fail 75 "cannot write $WORK"
fi

need_engine
free=$(df --output=avail -B1 -- "$WORK" | tail -n 1)
if [[ $free -lt $(<"$build/settings/disk_free_min") ]]; then
  fail 75 "only $((free >> 20)) MiB are free in $WORK, less than \"disk_free_min\""
fi

rm -rf -- "$work"/{settings,lock,console.log,steps,rerun,cancelled,.built,{,.}result.json}
cp -R -- "$build"/{build.json,settings} "$build"/{rerun,.built}* "$work"
carry "$build" "$work"
cp -- "$build/.withdrawn" "$work/.withdrawn"
mv -fT -- "$work/.withdrawn" "${work%/*}/withdrawn" # another build may read it

# What other machines have published is not known here: version.sh does not look for it.
earlier=$WORK/.earlier/$entry
mkdir -p -- "$earlier"
cp -- "$build/.withdrawn" "$earlier/withdrawn"
ln -s -- "$build"/{lock,console.log,steps} "$work"

leave .node "$node"
echo "agent.sh: on $node" >>"$build/console.log"
EARLIER=$earlier FROM=${FROM:-clone} \
  setpriv --pdeathsig TERM "$scripts/pipeline.sh" "$work" >/dev/null &
pipeline=$!
signalled=''
trap 'signalled=1; kill -TERM "$pipeline"' TERM INT
watch_over {LOCK_FD}>&- &
watcher=$!
code=0
wait "$pipeline" || code=$?
if [[ $signalled ]]; then
  code=0
  wait "$pipeline" || code=$? # the first one ended with the signal
fi

kill "$watcher" 2>/dev/null || true
rm -f -- "$work"/{lock,console.log,steps}

if ! holds_lock; then
  exit 69
fi

carry "$work" "$build"
for file in result.json .result.json; do
  if [[ -f $work/$file ]]; then
    leave "$file" "$(<"$work/$file")"$'\n'
  fi
done

exit "$code"
