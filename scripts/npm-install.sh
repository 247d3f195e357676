#!/usr/bin/env bash
# npm-install.sh BUILD installs the dependencies of the checkout into src/
#
# Reads     build.json, src/
# Writes    node_modules beside the package.json in `context`; without a package.json there is
#           nothing to do
# Settings  install.command   else `npm ci` with a lock file, `npm install --no-package-lock`
#                             without: both leave the rest of the tree as it was committed
#           install.image     run it in a container of that image, which sees src/ and npm's cache
#                             alone
# The command meets a short list of environment variables, and on the host, where the system
# allows, only the processes it started itself. That is tidiness: what keeps strangers' install
# scripts away is install.image.
#
# Exit codes: 0 done, 1 it does not install, 2 called wrongly, 69 locked, 75 network, disk or
# engine trouble
set -euo pipefail
shopt -s inherit_errexit
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/lib/common.sh"

# choose_command: sets $command, which the settings name or else the lock file decides.
choose_command() {
  list_setting command install/command
  if [[ ${#command[@]} -gt 0 ]]; then
    return
  fi

  if [[ ! -f package.json ]]; then
    # npm would walk up and act on whatever package.json it meets there: a false green.
    echo "npm-install.sh: no package.json in $context, nothing to install"
    exit 0
  fi

  command=(npm install --no-package-lock)
  if [[ -f package-lock.json || -f npm-shrinkwrap.json ]]; then
    command=(npm ci --prefer-offline)
  fi

  command+=(--no-audit --no-fund)
}

# keepable: may what it installs serve another build? Not where the project's own scripts run, nor
# where it links to folders of its own: those look at the sources.
keepable() {
  local looks='"(pre|post)?(install|prepare|prepublish)"[[:space:]]*:|"workspaces"|"(file|link):'
  if [[ "${command[*]:0:2}" != "npm ci" || -e binding.gyp ]]; then
    return 1
  fi

  ! grep -qsE "$looks" package.json
}

# decides: prints everything else that a finished node_modules depends on.
decides() {
  cat package.json package-lock.json npm-shrinkwrap.json .npmrc ~/.npmrc 2>/dev/null || true
  echo "${command[*]} $HOSTTYPE $image"
  if [[ $image ]] && docker image inspect --format '{{.Id}}' -- "$image"; then
    return
  fi

  node --version || return
  npm_version
}

# npm_version: prints npm's package.json, or what npm tells of itself, which takes 0.1 s longer.
npm_version() {
  local npm
  npm=$(realpath -- "$(command -v npm)")
  cat -- "${npm%/*}/../package.json" 2>/dev/null || npm --version
}

# install: runs the command, in the container or on the host.
install() {
  if [[ $image ]]; then
    install_in_container
  else
    install_on_host
  fi
}

# install_in_container: later steps call git on the host, which heeds the configuration in .git: so
# that stays as it is.
install_in_container() {
  run_container --user "$(id -u):$(id -g)" --workdir "/src/$context" \
    --mount "$(bind "$build/src" /src)" --mount "$(bind "$build/src/.git" /src/.git),readonly" \
    --mount "$(bind "$cache/npm" /npm)" --env HOME=/tmp --env npm_config_cache=/npm \
    -- "$image" "${command[@]}"
}

# bind SOURCE TARGET: prints a value of --mount, which is a line of CSV.
bind() { printf 'type=bind,"source=%s",target=%s' "${1//\"/\"\"}" "$2"; }

# install_on_host: the command meets few variables, and no processes but those it started. The
# namespace ends with its first process: that is a bash, since a process with the number 1 sleeps
# through any TERM it does not handle, and npm handles none.
install_on_host() {
  local name wait_for_it='trap "exit 143" TERM; "$@" & wait "$!"'
  local -a variables=("npm_config_cache=$cache/npm" "${ci[@]}")
  local -a private=(--pid --fork --kill-child --mount-proc) namespace=()

  for name in PATH HOME USER LANG LC_ALL TZ TMPDIR {HTTP,HTTPS,NO}_PROXY \
    {http,https,no}_proxy NODE_EXTRA_CA_CERTS SSL_CERT_{FILE,DIR}; do
    if [[ ${!name-} ]]; then
      variables+=("$name=${!name}")
    fi
  done

  if unshare "${private[@]}" true 2>/dev/null; then
    namespace=(unshare "${private[@]}")
  elif unshare --user --map-current-user "${private[@]}" true 2>/dev/null; then
    namespace=(unshare --user --map-current-user "${private[@]}")
  fi

  without_locks "${namespace[@]}" env -i "${variables[@]}" \
    bash -c "$wait_for_it" bash "${command[@]}"
}

# npm_code: prints the code of npm's own error, which it prints in lines of its own at the end.
npm_code() {
  tail -n 60 -- "$build/.said" | sed -nE 's/^npm (ERR!|error) code ([A-Z0-9_]+)$/\2/p' | tail -n 1
}

# explain CODE: fails, with who is to blame for it.
explain() {
  local lock npm failed="${command[*]} failed"
  npm=$(npm_code)
  if [[ $image ]]; then
    need_engine
  fi

  if [[ $image && $1 -eq 125 ]]; then
    fail 75 "the engine cannot run $image: $(last_words) (see \"install.image\" in config.json)"
  fi

  if [[ $1 -eq 137 ]]; then
    fail 75 "$failed: it was ended by KILL (out of memory? dmesg tells)"
  fi

  if [[ $npm == ENOSPC ]] || no_room; then
    fail 75 "npm could not write to the disk, which is full (df shows where)"
  fi

  case $npm in
    ECONNRE* | ETIMEDOUT | ENOTFOUND | EAI_AGAIN | ESOCKETTIMEDOUT | ERR_SOCKET_TIMEOUT | \
      EHOSTUNREACH | ENETUNREACH | E429 | E5[0-9][0-9])
      fail 75 "npm could not reach its registry: $npm (npm's reason is above)"
      ;;
    E401 | E403) fail 1 "$failed: $npm, the registry wants other credentials (see .npmrc)" ;;
    EINTEGRITY) fail 1 "$failed: $npm, a package is not what the lock file says it is" ;;
    EBADENGINE) fail 1 "$failed: $npm, a package wants another node (set \"install.image\")" ;;
    *) ;;
  esac

  for lock in pnpm-lock.yaml:pnpm yarn.lock:yarn bun.lockb:bun bun.lock:bun; do
    if [[ -f ${lock%:*} && ! -f package-lock.json && ${command[0]} == npm ]]; then
      fail 1 "npm could not install it; ${lock%:*} belongs to ${lock#*:}" \
        "(set \"install.command\": [\"${lock#*:}\", \"install\"] in config.json)"
    fi
  done
  if [[ ! $npm && ${command[0]} != npm ]]; then
    fail 1 "$failed with exit code $1: $(last_words)"
  fi
  fail 1 "$failed" \
    "(npm's reason is above; a lock file out of step is mended by npm install, and a commit)"
}

# renew_times: BuildKit takes a file for the same as in the last build where its size and time are,
# and unpacked packages bear a time of 1985, as does what a script has set back. So what is older
# than this build gets a time of now. (moby/buildkit#4950, seen with Docker 20.10)
renew_times() {
  find "$build/src" -path "$build/src/.git" -prune -o ! -newer "$build/build.json" \
    -exec touch --no-dereference -- {} +
}

open_build "$@"
umask 022 # for what becomes an image, whatever the operator's is
need src
context=$(<"$build/settings/context")
image=$(setting install/image)
inside "$context" \
  "$context"/{package.json,package-lock.json,npm-shrinkwrap.json,.npmrc,node_modules}
if ! cd -- "$build/src/$context" 2>/dev/null; then
  fail 1 "the repository has no folder $context (see \"context\" in config.json)"
fi

choose_command
ci_variables

kept=''
if keepable && key=$(decides | sha256sum); then
  kept=$cache/node_modules/${key%% *}
fi

echo "npm-install.sh: ${command[*]}${image:+ (in $image)}"
if [[ $kept ]] && "$scripts/lib/kept-modules.sh" take "$kept"; then
  exit 0
fi

lock_cache "$cache/npm" -s # so that prune.sh does not clear it meanwhile
mkdir -p -- "$cache/npm"
remove_container # one may be left from a run that was killed
code=0
watch install || code=$?
if [[ $code -ne 0 && " ${command[*]} " == *' --prefer-offline '* ]] && said 'code ETARGET'; then
  echo "npm-install.sh: again, since npm's cache may not know the newest versions"
  command=("${command[@]/#--prefer-offline/--prefer-online}")
  code=0
  watch install || code=$?
fi

if [[ $code -ne 0 ]]; then
  explain "$code"
fi

renew_times
if [[ $kept ]]; then
  "$scripts/lib/kept-modules.sh" keep "$kept"
fi
