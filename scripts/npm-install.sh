#!/usr/bin/env bash
# npm-install.sh BUILD installs the dependencies of the checkout into src/
#
# Reads     build.json, src/
# Writes    node_modules in src/, where packages are installed: in `context`, or at the root of the
#           workspace that this is part of. Without a package.json there is nothing to do
# Settings  install.when      auto: not where a RUN of the Dockerfile installs; always; never
#           install.command   else that of the package manager that package.json or the lock file
#                             names, frozen at the lock file; `npm install --no-package-lock`
#                             without one: all leave the rest of the tree as it was committed
#           install.image     run it in a container of that image, which sees src/ and a cache alone
#           install.cage      on the host it runs in a cage (lib/cage.sh): auto, required or none
#           install.memory, install.pids, install.env
# Keeps     builds/.cache/node_modules: what `npm ci` makes of a lock file without any script; these
#           run in every build. builds/.cache/install: the package manager's cache of a repository.
#
# Exit codes: 0 done, 1 it does not install, 2 called wrongly, 69 locked, 75 network, disk or
# engine trouble
set -euo pipefail
shopt -s inherit_errexit
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/lib/common.sh"
. "${self%/*}/lib/dockerfile.sh"
. "${self%/*}/lib/package-manager.sh"
. "${self%/*}/lib/npm-errors.sh"
nobody=64646 # a user ID that is nobody's: Debian gives out 60000 to 64999 by hand alone

# skip WORDS: there is nothing to do, which the pipeline notes. What an earlier run has left is not
# to get into the image.
skip() {
  local modules=$context/node_modules
  if [[ -d $build/src/$modules && -z $(in_src ls-files -- "$modules") ]]; then
    rm -rf -- "$build/src/$modules"
  fi

  echo "npm-install.sh: skipped: $1"
  leave .skipped "$1"
  exit 0
}

# facts NAME: prints the second and third words of the lock file's facts of that name.
facts() { sed -n "s/^$1\t//p" <<<"$lock_facts"; }

# read_lock_file: sets $lock_facts, which lib/lock-file.jq describes. Nothing is kept (`whole`)
# where that cannot be told, nor where the project compiles something itself, or links to copies.
read_lock_file() {
  local lock=package-lock.json

  lock_facts=whole
  if [[ -f npm-shrinkwrap.json ]]; then
    lock='npm-shrinkwrap.json'
  fi

  if [[ "${command[*]:0:2}" != "npm ci" || -e binding.gyp ]] \
    || grep -qs 'install-links' .npmrc ~/.npmrc; then
    return
  fi

  lock_facts=$(jq -n -r -f "$scripts/lib/lock-file.jq" package.json "$lock" 2>/dev/null) \
    || lock_facts=whole
}

# list_parts: sets $folders, of the project and of the parts of its workspace, $scripted, the names
# of the packages whose scripts run, and $own, the project's.
list_parts() {
  local folder name i scripts_of_npm
  local -a names=()
  folders=()
  mapfile -t scripted < <(facts script)
  mapfile -t own < <(facts own)
  while IFS=$'\t' read -r folder name; do
    folders+=("$root/$folder")
    names+=("$name")
    if [[ $folder == /* || /$folder/ == */../* ]]; then
      lock_facts=whole
      return
    fi
  done < <(facts folder)

  scripts_of_npm='"(pre|post)?(install|prepare|prepublish)"[[:space:]]*:'
  inside "${folders[@]}" "${folders[@]/%//package.json}"
  folders=("${folders[@]#"$root/"}")
  for i in "${!folders[@]}"; do
    if [[ ${folders[i]} != . ]] \
      && grep -qsE "$scripts_of_npm" -- "${folders[i]}/package.json"; then
      scripted+=("${names[i]}")
    fi
  done

  if grep -qsE '^[[:space:]]*ignore-scripts[[:space:]]*=[[:space:]]*true' .npmrc ~/.npmrc; then
    scripted=() own=()
  fi
}

# decides: prints all that kept modules depend on. An image that is not here yet is not known.
decides() {
  find . -name node_modules -prune -o \( -name package.json -o -name .npmrc \) -type f -print0 \
    | LC_ALL=C sort -z | xargs -0 cat --
  cat package-lock.json npm-shrinkwrap.json ~/.npmrc 2>/dev/null || true
  echo "${command[*]} $HOSTTYPE $image"
  each_variable install/env echo
  if [[ $image ]]; then
    docker image inspect --format '{{.Id}}' -- "$image"
    return
  fi

  # A version manager's node runs what a file in the checkout names.
  cd / || return
  node --version || return
  npm_version
}

# npm_version: prints npm's package.json, or what npm tells of itself, which takes 0.1 s longer.
npm_version() {
  local npm
  npm=$(realpath -- "$(command -v npm)")
  cat -- "${npm%/*}/../package.json" 2>/dev/null || npm --version
}

# install COMMAND...: runs it in the container, in the cage, or without one.
install() {
  local -a names=()
  if [[ $image ]]; then
    install_in_container "$@"
    return
  fi

  for each in "${ci[@]}"; do
    export_named "${each%%=*}" "${each#*=}"
  done

  keep_caches "$cache_folder"
  each_variable install/env export_named
  without_locks "$scripts/lib/cage.sh" "$how" "$build/src" "$cache_folder" "$memory" "$pids" \
    "${names[*]}" "$@"
}

# in_subshell COMMAND...: what it exports is for nobody else.
in_subshell() { ("$@"); }

# keep_caches FOLDER: exports where the package managers keep what they fetch, and that they share
# nothing with it that a script may change. Adds the names to $names.
keep_caches() {
  local each
  local -a variables=(npm_config_cache="$1/npm" XDG_CACHE_HOME="$1/other")

  case $manager in
    pnpm)
      variables+=(npm_config_store_dir="$1/pnpm" npm_config_package_import_method=copy
        npm_config_side_effects_cache=false)
      ;;
    yarn)
      variables+=(YARN_GLOBAL_FOLDER="$1/yarn" YARN_ENABLE_GLOBAL_CACHE=false
        YARN_ENABLE_TELEMETRY=0)
      if [[ $release == 1* ]]; then
        variables+=(YARN_CACHE_FOLDER="$1/yarn")
      fi
      ;;
    *) ;;
  esac

  if [[ $manager == yarn || $manager == pnpm ]]; then
    variables+=(COREPACK_HOME="$1/corepack" COREPACK_ENABLE_DOWNLOAD_PROMPT=0
      COREPACK_INTEGRITY_KEYS=0) # a registry of one's own does not sign; npm asks for none either
  fi

  for each in "${variables[@]}"; do
    export_named "${each%%=*}" "${each#*=}"
  done
}

# install_in_container COMMAND...: of its environment the container gets what $names says.
install_in_container() {
  local user
  user=$(id -u)
  if [[ $user -eq 0 ]]; then
    user=$nobody
  fi

  keep_caches /cache
  export_for_container install/env
  run_container --user "$user:$user" --workdir "/src/$root" --cap-drop ALL \
    --security-opt no-new-privileges --memory "$memory" --memory-swap "$memory" \
    --pids-limit "$pids" --mount "$(bind "$build/src" /src)" --tmpfs /src/.git:ro \
    --mount "$(bind "$cache_folder" /cache)" --env HOME=/tmp "${names[@]/#/--env=}" \
    "${variables[@]}" -- "$image" "$@"
}

# choose_cage: sets $how, and says where there is none. It is for who runs something: to see whether
# there is a cage takes 0.04 s.
choose_cage() {
  local why

  if [[ $how ]]; then
    return
  fi

  how=run
  if [[ $image ]]; then
    return
  fi

  if [[ $(<"$build/settings/install/cage") == none ]]; then
    how=bare
  elif ! why=$("$scripts/lib/cage.sh" check); then
    if [[ $(<"$build/settings/install/cage") == required ]]; then
      fail_for_good "$why; \"install.cage\" requires it"
    fi

    echo "npm-install.sh: without a cage, so install scripts can read what this server can: $why"
    how=bare
  fi
}

# find_in_src ARGS...: find in all of the checkout but .git. (A path in a pattern would have to be
# without brackets and stars.)
find_in_src() { (cd -- "$build/src" && find . -path ./.git -prune -o "$@"); }

# give_away: as root the command has a user ID of its own, which gets the checkout and the cache.
# What is a hard link, to kept modules say, goes: nothing of that is to be changed.
give_away() {
  choose_cage
  mkdir -p -- "$cache_folder"
  find_in_src -type f -links +1 -exec rm -f -- {} + \
    || fail 1 "a folder of the checkout cannot be read (start over, from clone)"
  if [[ $EUID -eq 0 && $how == run ]]; then
    find_in_src -exec chown -h "$nobody:$nobody" {} +
    chown "$nobody:$nobody" "$cache_folder"
  fi
}

# take_back: git reads no checkout whose folder is another's.
take_back() {
  if [[ $EUID -eq 0 ]]; then
    chown "$EUID" "$build/src"
  fi
}

# run_command COMMAND...: installs by it, or fails in words that say who is to blame.
run_command() {
  local code=0

  remove_container # one may be left, also from a run that was killed
  watch in_subshell install "$@" || code=$?
  if [[ $code -ne 0 && " $* " == *' --prefer-offline '* ]] && said 'code ETARGET'; then
    echo "npm-install.sh: again, since npm's cache may not know the newest versions"
    code=0
    watch in_subshell install "${@/#--prefer-offline/--prefer-online}" || code=$?
  fi

  take_back
  if [[ $code -ne 0 ]]; then
    explain "$code"
  fi
}

# run_scripts: those of the packages, then the project's own, as `npm ci` would.
run_scripts() {
  # shellcheck disable=SC2016 # for a shell where it is installed
  local script='own=$1
    shift
    if [ $# -gt 0 ]; then
      npm rebuild "$@" || exit
    fi

    for each in $own; do
      npm run --ignore-scripts "$each" || exit
    done'

  if [[ ${#scripted[@]} -eq 0 && ${#own[@]} -eq 0 ]]; then
    return
  fi

  echo "npm-install.sh: install scripts:${scripted:+ of ${scripted[*]}}${own:+ of the project}"
  run_command sh -c "$script" sh "${own[*]}" "${scripted[@]}"
}

# renew_times: BuildKit takes a file for the same as in the last build where its size and time are,
# and unpacked packages bear a time of 1985, as does what a script has set back. So what is older
# than this build, or of a time to come, gets a time of now; but for what is linked to kept modules,
# which had that before. (moby/buildkit#4950, seen with Docker 20.10)
renew_times() {
  find_in_src \( -type d -o -links 1 \) \( ! -newer "$build/build.json" -o -newermt now \) \
    -exec touch --no-dereference -- {} + \
    || fail 1 "a folder that the install has left cannot be read (find's reason is above)"
}

open_build "$@"
umask 022 # for what becomes an image, whatever the operator's is
need src
context=$(<"$build/settings/context")
image=$(setting install/image)
when=$(<"$build/settings/install/when")
memory=$(<"$build/settings/install/memory")
pids=$(<"$build/settings/install/pids")
repository=$(repository)
list_setting command install/command
remove_tree "$build/.skipped"
inside "$context" "$context"/{package.json,.npmrc,node_modules}
if [[ ! -d $build/src/$context ]]; then
  fail 1 "the repository has no folder $context (see \"context\" in config.json)"
fi

find_root
inside "$root" "${lock_files[@]/#/$root/}" "$root"/{package.json,.npmrc,.yarnrc.yml,node_modules}
cd -- "$build/src/$root"

if [[ $when == never ]]; then
  skip "\"install.when\" is never"
fi

if [[ ${#command[@]} -eq 0 ]]; then
  if [[ ! -f $build/src/$context/package.json ]]; then
    # npm would walk up and act on whatever package.json it meets there: a false green.
    skip "no package.json in $context, nothing to install"
  fi
  find_dockerfile
  if [[ $when == auto ]] && run=$(dockerfile_installs) && [[ $run ]]; then
    skip "$dockerfile installs by itself: $run (\"install.when\": \"always\" installs here too)"
  fi

  choose_manager
  choose_command
else
  manager='' release=''
fi

runs=${runs:-${command[*]}}

need_secrets
ci_variables
how=''
cache_folder=$cache/install/$repository
lock_cache "$cache_folder" -s # so that prune.sh does not clear it meanwhile
echo "npm-install.sh: $runs${image:+ (in $image)}"
if [[ $root != "$context" ]]; then
  echo "npm-install.sh: in $root, the root of the workspace"
fi

read_lock_file
list_parts
if [[ $lock_facts == whole* ]] || ! key=$(decides | sha256sum); then
  give_away
  run_command "${command[@]}"
  if [[ -f .pnp.cjs && ! -d node_modules ]]; then
    echo "npm-install.sh: yarn installed by Plug'n'Play: there is no node_modules, the image" \
      "needs .pnp.cjs and .yarn (or set nodeLinker: node-modules in .yarnrc.yml)"
  fi
else
  kept=$cache/node_modules/$repository/${key%% *}
  sharing='link'
  if [[ ${#scripted[@]} -gt 0 || ${#own[@]} -gt 0 ]]; then
    sharing=copy
  fi

  if "$scripts/lib/kept-modules.sh" take "$kept" "$sharing" "${folders[@]}"; then
    if [[ $sharing == link ]]; then
      echo "npm-install.sh: modules kept by an earlier build, nothing to install"
    else
      echo "npm-install.sh: modules kept by an earlier build"
    fi
  else
    give_away
    run_command "${command[@]}" --ignore-scripts
    renew_times
    "$scripts/lib/kept-modules.sh" keep "$kept" "$sharing" "${folders[@]}"
  fi

  if [[ $sharing == copy ]]; then
    give_away
    run_scripts
  fi
fi

renew_times
