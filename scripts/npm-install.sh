#!/usr/bin/env bash
# npm-install.sh BUILD: the dependencies of the checkout, into src/
#
# Reads     build.json, src/
# Writes    node_modules beside the package.json in `context`; without a package.json there is nothing to do
# Settings  install.command   else `npm ci` with a lock file, `npm install --no-package-lock` without: both leave
#                             the rest of the tree as it was committed
#           install.image     run it in a container of that image, which sees src/ and npm's cache alone
# The command meets a short list of environment variables, and on the host, where the system allows, only the
# processes it started itself. That is tidiness: what keeps strangers' install scripts away is install.image.
#
# Exit codes: 0 done, 1 it does not install, 2 called wrongly, 69 locked, 75 network, disk or engine trouble
set -euo pipefail
shopt -s inherit_errexit
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/lib/common.sh"
open_build "$@"
need src
read_build id commit ref settings.{repository,context,install.image,install.command}

inside "$context" "$context"/{package.json,package-lock.json,npm-shrinkwrap.json,.npmrc,node_modules}
project=$build/src/$context
cd -- "$project" 2>/dev/null || fail 1 "the repository has no folder $context (see \"context\" in config.json)"
if [[ ! -f package.json && ! ${command[0]} ]]; then
  # npm would walk up and act on whatever package.json it meets there: a false green.
  echo "npm-install.sh: no package.json in $context, nothing to install"
  exit 0
fi
if [[ ! ${command[0]} ]]; then
  command=(npm install --no-package-lock)
  [[ ! -f package-lock.json && ! -f npm-shrinkwrap.json ]] || command=(npm ci --prefer-offline)
  command+=(--no-audit --no-fund)
fi

# decides: everything else that a finished node_modules depends on. npm itself takes long to tell its version.
decides() {
  local npm
  cat package.json package-lock.json npm-shrinkwrap.json .npmrc ~/.npmrc 2>/dev/null || true
  echo "${command[*]} $HOSTTYPE $image"
  if [[ $image ]]; then docker image inspect --format '{{.Id}}' -- "$image" && return; fi
  npm=$(realpath -- "$(command -v npm)")
  node --version && { cat -- "${npm%/*}/../package.json" 2>/dev/null || npm --version; }
}

# It is kept for the next build with the same. Not where the project's own scripts would run, nor where it links
# to folders of its own: those look at the sources.
kept=()
own='"(pre|post)?(install|prepare|prepublish)"[[:space:]]*:|"workspaces"|"(file|link):'
if [[ "${command[*]:0:2}" == "npm ci" && ! -e binding.gyp ]] && ! grep -qsE "$own" package.json && key=$(decides | sha256sum); then
  kept=("$scripts/lib/kept-modules.sh" "$cache/node_modules/${key%% *}")
fi

ci_variables "$id" "$repository" "$commit" "$ref"
mkdir -p -- "$cache/npm"
exec {npm_lock}>"$cache/npm.lock" # so that prune.sh does not clear it meanwhile
flock -s "$npm_lock"
if [[ $image ]]; then
  # bind SOURCE TARGET[,OPTION]: a value of --mount is a line of CSV.
  bind() { printf 'type=bind,"source=%s",target=%s' "${1//\"/\"\"}" "$2"; }
  trap remove_container EXIT
  remove_container # of a run that was killed
  : >"$build/.container"
  # Later steps call git on the host, which heeds the configuration in .git: so that stays as it is.
  run=("${DOCKER:-docker}" run --init --name "$container" --user "$(id -u):$(id -g)" --workdir "/src/$context"
  --mount "$(bind "$build/src" /src)" --mount "$(bind "$build/src/.git" /src/.git,readonly)" --mount "$(bind "$cache/npm" /npm)"
  --env HOME=/tmp --env npm_config_cache=/npm "${ci[@]/#/--env=}" --entrypoint "${command[0]}" "$image" "${command[@]:1}")
else
  run=(env -i npm_config_cache="$cache/npm" "${ci[@]}")
  for name in PATH HOME USER LANG LC_ALL TZ TMPDIR {HTTP,HTTPS,NO}_PROXY {http,https,no}_proxy NODE_EXTRA_CA_CERTS SSL_CERT_{FILE,DIR}; do
    [[ ! ${!name-} ]] || run+=("$name=${!name}")
  done
  # In a PID namespace the command's processes end with its first one. That is a bash, since a process with
  # the number 1 sleeps through any TERM it does not handle, and npm handles none.
  for namespace in 'unshare --pid --fork --kill-child --mount-proc' 'unshare --user --map-current-user --pid --fork --kill-child --mount-proc'; do
    read -ra namespace <<<"$namespace"
    if "${namespace[@]}" true 2>/dev/null; then
      run=("${namespace[@]}" "${run[@]}")
      break
    fi
  done
  # shellcheck disable=SC2016 # for the inner bash
  run+=(bash -c 'trap "exit 143" TERM; "$@" & wait "$!"' bash "${command[@]}")
fi

echo "npm-install.sh: ${command[*]}${image:+ (in $image)}"
attempt() { observe "${kept[@]}" "${run[@]}" {LOCK_FD}>&- {npm_lock}>&-; }
attempt && exit 0 || code=$?
if [[ " ${command[*]} " == *' --prefer-offline '* ]] && said 'code ETARGET'; then
  echo "npm-install.sh: again, since npm's cache may not know the newest versions"
  run=("${run[@]/#--prefer-offline/--prefer-online}")
  attempt && exit 0 || code=$?
fi
[[ ! $image ]] || engine_answers || fail 75 "the Docker engine does not answer (is it running? see: docker version)"
[[ ! $image || $code -ne 125 ]] || fail 75 "the engine cannot run $image (docker's reason is above; see \"install.image\" in config.json)"
! full_disk || fail 75 "npm could not write to the disk, which is full (df shows where)"
! said 'code (E(CONNRE[A-Z]+|TIMEDOUT|NOTFOUND|AI_AGAIN|SOCKETTIMEOUT|HOSTUNREACH|NETUNREACH|429|5[0-9][0-9])|ERR_SOCKET_TIMEOUT)' \
  || fail 75 "npm could not reach its registry (npm's reason is above)"
for lock in pnpm-lock.yaml:pnpm yarn.lock:yarn bun.lockb:bun bun.lock:bun; do
  [[ ! -f ${lock%:*} || -f package-lock.json ]] \
    || fail 1 "npm could not install it; ${lock%:*} belongs to ${lock#*:} (set \"install.command\" in config.json)"
done
fail 1 "${command[*]} failed (npm's reason is above; a lock file out of step is mended by npm install, and a commit)"
