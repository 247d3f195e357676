#!/usr/bin/env bats
# shellcheck source=tests/support/helper.bash
source "$BATS_TEST_DIRNAME/../support/helper.bash"

setup() {
  common_setup
  entry=$work/store/key
  mkdir "$work/project"
  cd "$work/project" || return
  install=(bash -c 'mkdir -p node_modules/a && echo one >node_modules/a/index.js && ln -s ../a node_modules/link && echo ran >>log')
}

runs() { wc -l <log; }

# kept COMMAND...: as npm-install.sh does it: node_modules from the entry, else by the command, and then kept.
kept() {
  "$scripts/lib/kept-modules.sh" take "$entry" "${how-link}" . && return
  "$@" || return
  "$scripts/lib/kept-modules.sh" keep "$entry" "${how-link}" .
}

@test "-h prints the manual; called wrongly it is exit 2" {
  run -0 "$scripts/lib/kept-modules.sh" -h
  [[ $output == "kept-modules.sh takes"* ]]
  for arguments in "" "take" "keep $entry link" "$entry" "steal $entry link ." "take $entry more ."; do
    # shellcheck disable=SC2086
    run -2 "$scripts/lib/kept-modules.sh" $arguments
    [[ $output == "usage: kept-modules.sh"* ]]
  done
}

@test "the command runs once, and the second time its result is taken from the store" {
  kept "${install[@]}"
  cp -a node_modules "$work/first"
  rm -r node_modules
  kept "${install[@]}"
  [[ $(runs) -eq 1 ]]
  diff -r --no-dereference "$work/first" node_modules
}

@test "what a failing command leaves is not kept, and its exit code is handed on" {
  run -7 kept bash -c 'mkdir node_modules; exit 7'
  [[ ! -e $entry ]]
}

@test "a command that makes no node_modules leaves nothing in the store" {
  kept true
  [[ ! -e $entry ]]
}

@test "an entry with a changed, a missing or an added file is not used, and made anew" {
  for damage in 'echo two >' 'rm ' 'touch new-'; do
    kept "${install[@]}"
    [[ ! -s log ]] || rm log
    (cd "$entry/tree/node_modules/a" && bash -c "${damage}index.js")
    run -0 kept "${install[@]}"
    [[ $output == *"is damaged; installing anew"* && $(runs) -eq 1 ]]
    [[ $(ls node_modules/a) == index.js && $(<node_modules/a/index.js) == one ]]
    run -0 kept false
  done
}

@test "what is taken is there to the last file, however long the links take" {
  kept "${install[@]}"
  rm -r node_modules
  mkdir "$work/bin"
  printf '#!/bin/sh\nsleep 1\nexec /bin/cp "$@"\n' >"$work/bin/cp"
  chmod +x "$work/bin/cp"
  PATH=$work/bin:$PATH "$scripts/lib/kept-modules.sh" take "$entry" link .
  [[ $(<node_modules/a/index.js) == one && $(runs) -eq 1 ]]
}

@test "killed while it keeps, it leaves nothing that is used" {
  mkdir "$work/bin"
  # shellcheck disable=SC2016 # for the stub
  printf '#!/bin/bash\nmkdir -p "${@: -1}"; echo half >"${@: -1}/half"; echo $$ >%q; exec sleep 60\n' "$work/pid" >"$work/bin/cp"
  chmod +x "$work/bin/cp"
  "${install[@]}"
  PATH=$work/bin:$PATH "$scripts/lib/kept-modules.sh" keep "$entry" link . 3>&- &
  killed=$!
  until_true test -s "$work/pid"
  kill -KILL "$killed" "$(<"$work/pid")"
  [[ ! -e $entry ]]
  rm -rf node_modules log
  kept "${install[@]}"
  [[ $(runs) -eq 1 && ! -e node_modules/half ]]
  run -0 kept false
}

@test "nobody waits for an install of somebody else's" {
  mkfifo "$work/gate"
  # shellcheck disable=SC2016
  kept bash -c 'echo >started; read -r <"$0"' "$work/gate" 3>&- &
  slow=$!
  until_true test -e started
  mkdir "$work/other"
  (cd "$work/other" && kept "${install[@]}" && touch ended) 3>&- &
  until_true test -e "$work/other/ended"
  echo go >"$work/gate"
  wait "$slow"
}

# npm_project: a repository with one dependency, in $work/app.
npm_project() {
  sample app
  (cd "$work/app" && npm install --silent --no-audit --no-fund is-number@"${1:-7.0.0}" && rm -r node_modules)
  MESSAGE='fix: dependency' commit app
  configure app "${2:-{\}}"
}

# kept_or_not: how npm-install.sh of a new build came by node_modules.
kept_or_not() {
  stage
  steps clone npm-install
  [[ -f $build/src/node_modules/is-number/index.js ]]
  if grep -q 'nothing to install' "$work/out"; then echo kept; else echo installed; fi
}

@test "the second build takes node_modules from the store; everything that decides it makes a new install" {
  npm_project
  [[ "$(kept_or_not) $(kept_or_not)" == "installed kept" ]]

  (cd "$work/app" && npm install --silent --no-audit --no-fund is-number@6.0.0 && rm -r node_modules)
  commit app
  [[ "$(kept_or_not) $(kept_or_not)" == "installed kept" ]]
  stage
  steps clone npm-install
  [[ $(jq -r .version "$build/src/node_modules/is-number/package.json") == 6.0.0 ]]

  commit app .npmrc 'fund=false'
  [[ "$(kept_or_not) $(kept_or_not)" == "installed kept" ]]

  # Another node, and another npm: the real ones, that say they are newer.
  mkdir -p "$work/npm/bin" "$work/bin"
  # shellcheck disable=SC2016
  printf '#!/bin/bash\n[[ $* == --version ]] && echo v99.0.0 && exit\nexec %q "$@"\n' "$(command -v node)" >"$work/bin/node"
  chmod +x "$work/bin/node"
  PATH=$work/bin:$PATH
  [[ "$(kept_or_not) $(kept_or_not)" == "installed kept" ]]
  printf '#!/bin/bash\nexec %q "$@"\n' "$(command -v npm)" >"$work/npm/bin/npm"
  chmod +x "$work/npm/bin/npm"
  echo '{"version": "99.0.0"}' >"$work/npm/package.json"
  PATH=$work/npm/bin:$PATH
  [[ "$(kept_or_not) $(kept_or_not)" == "installed kept" ]]
}

@test "copies are not shared with what is kept, and links are" {
  for how in copy link; do
    rm -rf "$entry" node_modules
    kept "${install[@]}"
    rm -r node_modules
    kept false
    count=$(stat -c %h node_modules/a/index.js)
    [[ $how == copy && $count -eq 1 || $how == link && $count -eq 2 ]]
  done
}

@test "each part of a workspace has its modules, and what else is there stays" {
  make=(bash -c 'mkdir -p {.,packages/a}/node_modules/x; echo one | tee {.,packages/a}/node_modules/x/index.js >out')
  mkdir -p packages/a packages/b
  folders=(. packages/a packages/b)
  "${make[@]}"
  "$scripts/lib/kept-modules.sh" keep "$entry" link "${folders[@]}"
  rm -r node_modules packages/a/node_modules
  echo mine >packages/a/file
  before=$(stat -c '%a %u %Y' packages/b)
  "$scripts/lib/kept-modules.sh" take "$entry" link "${folders[@]}"
  [[ $(<packages/a/node_modules/x/index.js) == one && $(<node_modules/x/index.js) == one ]]
  [[ $(<packages/a/file) == mine && ! -e packages/b/node_modules && $(stat -c '%a %u %Y' packages/b) == "$before" ]]
}

@test "nothing is kept without a lock file" {
  npm_project
  git -C "$work/app" rm -q package-lock.json
  commit app
  [[ "$(kept_or_not) $(kept_or_not)" == "installed installed" ]]
}

# files IMAGE: names, kinds, modes and contents of all files in it.
files() {
  local container
  container=$(docker create "$1" true)
  mkdir "$work/$2"
  docker export "$container" | tar -x -C "$work/$2" app
  docker rm "$container" >/dev/null
  (cd "$work/$2" && find . -type f -exec sha256sum {} + && find . -printf '%p %y %m %l\n') | sort
}

@test "a commit built cold and built warm is the same image, file by file" {
  docker() { command "${DOCKER:-docker}" "$@"; }
  npm_project 7.0.0 '{"build_args": {"BUST": "1"}}'
  commit app Dockerfile "FROM $BASE_IMAGE
ARG BUST
RUN echo \"\$BUST\" >/bust
WORKDIR /app
COPY . ."
  stage
  steps clone npm-install version build
  cold=$(<"$build/image")
  configure app '{"build_args": {"BUST": "2"}}' # so that the engine copies the files again
  stage
  steps clone npm-install
  grep -q 'nothing to install' "$work/out"
  steps version build
  warm=$(<"$build/image")
  [[ $cold != "$warm" ]]
  files "$cold" cold >"$work/files.cold"
  files "$warm" warm >"$work/files.warm"
  [[ $(wc -l <"$work/files.cold") -gt 8 ]]
  diff "$work/files.cold" "$work/files.warm"
}
