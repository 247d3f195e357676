# shellcheck shell=bash disable=SC2034
# package-manager.sh finds which command installs a checkout: for npm-install.sh, which sources it.

lock_files=(package-lock.json npm-shrinkwrap.json yarn.lock pnpm-lock.yaml bun.lock bun.lockb)

# find_root: sets $root, relative to src/, to where packages are installed: the context, unless that
# has no lock file and is part of a workspace, whose root has one.
find_root() {
  local folder=$context

  root=$context
  if has_lock_file "$folder"; then
    return
  fi

  while [[ $folder != . ]]; do
    if [[ $folder == */* ]]; then
      folder=${folder%/*}
    else
      folder=.
    fi

    if has_lock_file "$folder" && is_workspace "$folder"; then
      root=$folder
      return
    fi
  done
}

has_lock_file() {
  local name
  for name in "${lock_files[@]}"; do
    if [[ -f $build/src/$1/$name ]]; then
      return 0
    fi
  done

  return 1
}

is_workspace() {
  inside "$1/package.json"
  [[ -f $build/src/$1/pnpm-workspace.yaml ]] || grep -qs '"workspaces"' "$build/src/$1/package.json"
}

# choose_manager: in the root, sets $manager to npm, yarn, pnpm or bun, and $release to its version
# as far as that is told; $pinned where package.json names both, for corepack to read.
choose_manager() {
  local named='"packageManager"[[:space:]]*:[[:space:]]*"(npm|yarn|pnpm|bun)@([0-9][^"+]*)'

  manager=npm release='' pinned=''
  if [[ $(<package.json) =~ $named ]]; then
    manager=${BASH_REMATCH[1]} release=${BASH_REMATCH[2]} pinned=yes
  elif [[ -f package-lock.json || -f npm-shrinkwrap.json ]]; then
    :
  elif [[ -f pnpm-lock.yaml ]]; then
    manager=pnpm release=$(pnpm_release)
  elif [[ -f yarn.lock ]]; then
    manager=yarn release=$(yarn_release)
  elif [[ -f bun.lock || -f bun.lockb ]]; then
    manager=bun release=1
  fi
}

# pnpm_release: prints the major version that writes such a lock file.
# (https://pnpm.io/installation, "Compatibility"; lockfileVersion 9.0 is read by pnpm 9 and 10)
pnpm_release() {
  case $(sed -n "s/^lockfileVersion: *'\{0,1\}\([0-9]*\).*/\1/p" pnpm-lock.yaml) in
    5) echo 7 ;;
    6) echo 8 ;;
    *) echo 9 ;;
  esac
}

# yarn_release: prints the same for yarn, whose lock files tell by metadata, from version 2 on.
yarn_release() {
  local metadata='__metadata:[[:space:]]+version: ([0-9]+)'
  if [[ ! $(head -n 20 yarn.lock) =~ $metadata ]]; then
    echo 1.22.22
  elif [[ ${BASH_REMATCH[1]} -ge 8 ]]; then
    echo 4
  else
    echo 3
  fi
}

# choose_command: sets $command to what installs here, frozen at the lock file; and $runs, the same
# for people. npm is the host's (or the image's) own; others come by corepack, which asks npm's
# registry for them, else by npx.
choose_command() {
  local -a arguments
  local package=$manager by

  case $manager in
    npm)
      command=(npm install --no-package-lock)
      if [[ -f package-lock.json || -f npm-shrinkwrap.json ]]; then
        command=(npm ci --prefer-offline)
      fi

      command+=(--no-audit --no-fund)
      return
      ;;
    yarn)
      arguments=(install --immutable)
      if [[ $release == 1* ]]; then
        arguments=(install --frozen-lockfile --non-interactive)
      else
        package=@yarnpkg/cli-dist
      fi
      ;;
    *)
      arguments=(install --frozen-lockfile)
      ;;
  esac

  # shellcheck disable=SC2016 # for a shell where it is installed, which may be a container
  by='spec=$1 package=$2
    shift 2
    if command -v corepack >/dev/null && [ "${package%%@*}" != bun ]; then
      COREPACK_NPM_REGISTRY=$(npm config get registry 2>/dev/null) || exit
      COREPACK_NPM_REGISTRY=${COREPACK_NPM_REGISTRY%/}
      export COREPACK_NPM_REGISTRY
      exec corepack "$spec" "$@"
    fi

    exec npx --yes "$package" "$@"'
  command=(sh -c "$by" sh "$manager@$release" "$package@$release" "${arguments[@]}")
  if [[ $pinned ]]; then
    command[4]=$manager # corepack reads the rest itself, with a checksum where there is one
  fi

  runs="$manager ${arguments[*]}"
}
