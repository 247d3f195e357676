#!/usr/bin/env bash
# hints.sh BUILD prints what would make the builds of a repository better, by its Dockerfile
#
# Each hint is given once to a repository: builds/OWNER/NAME/.hints has the names of those it got.
#
# Reads   build.json, src/, and what docker build has said in console.log, for what a hint saves
# Prints  a hint a line
#
# Exit codes: 0 done, 2 called wrongly
set -euo pipefail
shopt -s inherit_errexit
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/common.sh"
. "${self%/*}/dockerfile.sh"

# hint NAME WORDS...: unless the repository had it.
hint() {
  if ! grep -qsxF -- "$1" "$given"; then
    echo "$1" >>"$given"
    echo "hint: ${*:2}"
  fi
}

# seconds_of COMMANDS: prints how long that RUN took in this build, as (1.2 s here), by the lines of
# BuildKit. Of one that it had kept there is nothing to tell.
seconds_of() {
  awk -v run="RUN ${1:0:60}" '
    /^#[0-9]+ \[/ && index($0, run) { number = $1 }
    number != "" && $1 == number && $2 == "DONE" { seconds = $3 }
    END { sub(/s$/, "", seconds); if (seconds >= 0.1) printf " (%s s here)", seconds }
  ' "$build/console.log"
}

# cache_of COMMANDS: prints where the manager that they call keeps what it downloads.
cache_of() {
  case $1 in
    *pnpm*) echo /root/.local/share/pnpm/store ;;
    *yarn*) echo /usr/local/share/.cache ;;
    *bun*) echo /root/.bun/install/cache ;;
    *) echo /root/.npm ;;
  esac
}

# hint_at_installs: where does the Dockerfile install, and what is there by then?
hint_at_installs() {
  local copied run

  while IFS=$'\t' read -r _ _ copied _ run; do
    if [[ $copied == yes ]]; then
      hint copy-before-install "$dockerfile copies everything before \"${run:0:60}\", so that" \
        "any change has it run again$(seconds_of "$run"): copy package.json and the lock file" \
        "first, and the rest after it"
    fi

    if [[ $run != *--mount=type=cache* ]]; then
      hint install-cache "what \"${run:0:60}\" downloads is kept for the next time by:" \
        "RUN --mount=type=cache,target=$(cache_of "$run") …"
    fi
  done < <(grep ^install <<<"$stages")
}

# hint_at_context: what goes to the engine, and from where?
hint_at_context() {
  local size wanted

  if [[ ! -e $build/src/$context/.dockerignore && ! -e $build/src/$dockerfile.dockerignore ]]; then
    # The first build's, as a second one sends only what has changed since.
    size=$(awk '/^#[0-9]+ \[internal\] load build context/ { number = $1 }
      $1 == number && /transferring context: .*done/ { print $4; exit }' "$build/console.log")
    hint dockerignore "there is no .dockerignore: all of the checkout goes to the engine" \
      "${size:+($size here) }and any change of it into COPY: name node_modules and .git in one"
  fi

  wanted=$(setting dockerfile)
  if [[ $context != . && ! $wanted && $dockerfile != "$context"/* ]]; then
    hint dockerfile "the root's $dockerfile builds the folder $context, which has none: if that" \
      "is meant, say \"dockerfile\": \"$dockerfile\""
  fi
}

# hint_at_image: what does the image hold that it does not need?
hint_at_image() {
  local named='"devDependencies"[[:space:]]*:[[:space:]]*[{][[:space:]]*"'

  if [[ $stages =~ $'\timage\tall' ]] \
    && [[ $(text_of "src/$context/package.json") =~ $named ]]; then
    hint development "the image holds development dependencies: install with --omit=dev in the" \
      "last stage, and have the tests run in an earlier one (\"test.target\": \"auto\")"
  fi
}

if [[ ${1-} == -h ]]; then
  manual
  exit 0
fi

if [[ $# -ne 1 || ! -f ${1-}/build.json ]]; then
  fail 2 "usage: hints.sh BUILD, a build directory (-h explains)"
fi

AHEAD=1 # complain is to leave no message
build=$(cd -P -- "$1" && pwd)
given=${build%/*}/.hints
context=$(<"$build/settings/context")
find_dockerfile
stages=$(list_stages)
hint_at_installs
hint_at_context
hint_at_image
