#!/usr/bin/env bats
# Symlinks that lead out of the checkout, where git or what is kept of node_modules meets them. (Those of npm, docker and
# the version have their tests with their scripts.)

load ../support/helper

setup() {
  common_setup
  mkdir "$work/outside"
  repository app file one
  configure app
  app=$work/app
}

# link PATH TARGET: as a file of the repository, committed.
link() {
  ln -sfn "$2" "$app/$1"
  commit app
}

# outside: nothing changed there, and nothing of it was shown.
outside() {
  [[ $(find "$work/outside" -printf '%P %s %T@ %C@\n' | sort) == "$before" ]]
  [[ $output != *precious* ]]
}

clone() {
  before=$(find "$work/outside" -printf '%P %s %T@ %C@\n' | sort)
  stage
  run "$scripts/clone.sh" "$build"
}

@test ".gitmodules that leads elsewhere names no submodules" {
  repository lib precious precious
  printf '[submodule "x"]\n\tpath = x\n\turl = %s\n' "file://$work/lib" >"$work/outside/modules"
  # Git itself would not add such a thing.
  blob=$(printf %s "$work/outside/modules" | git -C "$app" hash-object -w --stdin)
  tree=$(printf '120000 blob %s\t.gitmodules\n160000 commit %s\tx\n' "$blob" "$(git -C "$work/lib" rev-parse HEAD)" | git -C "$app" mktree --missing)
  git -C "$app" update-ref refs/heads/main "$(git -C "$app" "${git_identity[@]}" commit-tree -m link "$tree")"
  export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=protocol.file.allow GIT_CONFIG_VALUE_0=always
  clone
  [[ $status -ne 0 && ! -e $build/src ]]
  outside
}

@test "a submodule whose path leads through a link stays out of there" {
  repository lib precious precious
  printf '[submodule "x"]\n\tpath = link/x\n\turl = %s\n' "file://$work/lib" >"$app/.gitmodules"
  git -C "$app" add .gitmodules
  git -C "$app" update-index --add --cacheinfo "160000,$(git -C "$work/lib" rev-parse HEAD),x"
  ln -s "$work/outside" "$app/link"
  git -C "$app" add link
  git -C "$app" "${git_identity[@]}" commit -q -m link
  export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=protocol.file.allow GIT_CONFIG_VALUE_0=always
  clone
  [[ $status -eq 1 && ! -e $build/src ]]
  outside
}

@test ".gitattributes that leads elsewhere sets none" {
  echo '* filter=lfs ident working-tree-encoding=UTF-16' >"$work/outside/attributes"
  link .gitattributes "$work/outside/attributes"
  clone
  [[ $status -eq 0 && $(<"$build/src/file") == one ]]
  outside
}

@test ".lfsconfig that leads elsewhere is not read" {
  printf 'precious = 1\n[lfs]\n\turl = http://127.0.0.1:1/precious\n' >"$work/outside/config"
  cp "$work/outside/config" "$work/outside/file"
  printf 'version https://git-lfs.github.com/spec/v1\noid sha256:%064d\nsize 3\n' 1 >"$app/a.bin"
  printf '*.bin filter=lfs\n' >"$app/.gitattributes"
  ln -s "$work/outside/config" "$app/.lfsconfig"
  git -C "$app" -c filter.lfs.process= -c filter.lfs.clean= -c filter.lfs.required=false add -A
  git -C "$app" "${git_identity[@]}" -c core.hooksPath=/dev/null commit -q -m link
  clone
  [[ $status -eq 1 && $output == *".lfsconfig is a symbolic link"* && ! -e $build/src ]]
  outside
}

@test "a link in node_modules' place is not kept" {
  mkdir "$work/project" && cd "$work/project"
  ln -s "$work/outside" node_modules
  "$scripts/lib/kept-modules.sh" keep "$work/cache/key" link .
  [[ -L node_modules && ! -e $work/cache/key ]]
  rm node_modules
  mkdir node_modules
  "$scripts/lib/kept-modules.sh" keep "$work/cache/key" link .
  [[ -d $work/cache/key/tree/node_modules ]]
}

@test "what install.image runs cannot have git, on the host, do anything" {
  configure app "$(jq -n --arg image "$BASE_IMAGE" '{install: {$image, command: ["sh", "-c", "
    for try in \"echo x >>.git/config\" \"mv .git old\" \"rm -rf .git\" \"echo x >.git/hooks/post-checkout\" \"ln -s /etc .git/x\"; do
      sh -c \"$try\" && echo \"it could: $try\"
    done; touch tried"]}}')"
  stage
  "$scripts/clone.sh" "$build"
  find "$build/src/.git" -type f -printf '%P %s %T@\n' | sort >"$work/before"
  run "$scripts/npm-install.sh" "$build"
  [[ $status -eq 0 && -e $build/src/tried ]]
  [[ $output != *$'\nit could: '* ]]
  find "$build/src/.git" -type f -printf '%P %s %T@\n' | sort | diff "$work/before" -
  [[ -d $build/src/.git && ! -e $build/src/old ]]
}
