# clone.sh: the source at exactly one commit, whatever the remote, the mirror or the names are like.

setup() {
  load ../support/helper
  common_setup
  cd "$work" || return
  repository app file one
  clone_of app
}

# clone_of NAME: what stage is to stage.
clone_of() {
  SETTINGS=$(jq -cn --arg builds "$work/builds" --arg url "file://$work/$1" '{$builds, settings: {$url}}')
  export SETTINGS
}

# src ARGS...: git in the checkout.        app ARGS...: in the remote.
src() { git -C "$build/src" "$@"; }
app() { git -C "$work/app" "${git_identity[@]}" "$@"; }

# mirror: where it is.
mirror() { echo "$work/builds/.cache/git/$repository.git"; }

# whole [REV]: the checkout is complete, clean, and at that commit of the remote.
whole() {
  [[ $(src rev-parse HEAD) == $(app rev-parse "${1-HEAD}^{commit}") && ! -e $build/.src.tmp ]]
    [[ ! $(src status --porcelain) ]]
  [[ ! $(src fsck --no-dangling --no-progress 2>&1) ]]
}

# relocal: lets git fetch submodules from local folders, as GitHub's come from GitHub.
relocal() { export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=protocol.file.allow GIT_CONFIG_VALUE_0=always; }

# submodule NAME URL PATH: as `git submodule add` would, with the head of $work/$(basename URL).
submodule() {
  git -C "$work/$1" -c protocol.file.allow=always submodule --quiet add -- "$2" "$3"
  commit "$1"
}

@test "it keeps the promises of a step" {
  is_a_step clone
}

@test "checks out exactly the commit of a branch, not the branch" {
  commit app file two
  stage main "$(app rev-parse HEAD~)"
  commit app file three
  steps clone
  whole HEAD~2
  [[ $(<"$build/src/file") == one && ! $(src symbolic-ref -q HEAD) ]]
}

@test "checks out exactly the commit of a tag, light or annotated" {
  app tag light
  app tag -a -m text v1.0.0
  commit app file two
  for tag in light v1.0.0; do
    stage "$tag"
    steps clone
    whole "$tag"
  done
}

@test "checks out a bare commit that is no branch's or tag's tip" {
  commit app file two
  commit app file three
  stage "$(app rev-parse HEAD~)"
  steps clone
  whole HEAD~
}

@test "checks out a commit that was pushed over, while the remote still gives it away" {
  commit app file lost
  lost=$(app rev-parse HEAD)
  app reset -q --hard HEAD~
  commit app file better
  stage refs/heads/main "$lost"
  steps clone
  whole "$lost"
  [[ $(src rev-parse origin/main) == $(app rev-parse main) ]]
}

@test "a commit that is gone from the remote is exit 1, and leaves nothing" {
  stage refs/heads/main "$(printf '%040d' 7)"
  fails 1 "commit $(printf '%040d' 7) is gone from file://$work/app (pushed over?" "$scripts/clone.sh" "$build"
  [[ ! -e $build/src && ! -e $build/.src.tmp && $(<"$build/.message") == "clone.sh: commit "* ]]
  [[ $output != *"damaged"* ]]
}

@test "all history, tags and branches are there, the origin is the remote, the default branch origin/HEAD" {
  app checkout -q -b trunk
  commit app file two
  app tag -a -m text v1.0.0
  app checkout -q -b feature/x
  commit app file three
  app checkout -q trunk
  stage feature/x
  steps clone
  whole feature/x
  [[ $(src remote get-url origin) == "file://$work/app" && $(src remote) == origin ]]
  [[ $(src rev-list --count HEAD) -eq 3 && ! -e $build/src/.git/shallow && ! -e $build/src/.git/objects/info/alternates ]]
  [[ $(src cat-file -t v1.0.0) == tag ]]
  [[ $(src symbolic-ref refs/remotes/origin/HEAD) == refs/remotes/origin/trunk ]]
  [[ $(src for-each-ref --format '%(refname)' refs/remotes | xargs) == "refs/remotes/origin/HEAD refs/remotes/origin/feature/x refs/remotes/origin/main refs/remotes/origin/trunk" ]]
}

@test "what changes on the remote is followed: branches, tags moved by force, the default branch" {
  app tag v1
  app branch old
  app branch a
  stage
  steps clone
  commit app file two
  app tag -f v1
  app branch -D old a
  app branch a/b
  app checkout -q -b trunk
  commit app file three
  stage
  steps clone
  whole
  run ! grep damaged out
  [[ $(src rev-parse v1) == $(app rev-parse HEAD~) && $(src symbolic-ref refs/remotes/origin/HEAD) == refs/remotes/origin/trunk ]]
  run ! src rev-parse -q --verify origin/old
  src rev-parse -q --verify origin/a/b
}

@test "a remote whose HEAD names no branch is cloned all the same" {
  app checkout -q -b trunk
  app symbolic-ref HEAD refs/heads/nowhere
  stage trunk
  steps clone
  whole trunk
  app checkout -q --detach trunk
  stage trunk
  steps clone
  whole trunk
}

@test "twice in a row is fine, and clears what was done to the checkout" {
  stage
  steps clone
  echo changed >"$build/src/file"
  touch "$build/src/new"
  mkdir "$build/.src.tmp" && touch "$build/.src.tmp/of a run that was killed"
  steps clone
  whole
}

@test "a failing run leaves an earlier checkout as it was" {
  stage
  steps clone
  rm -rf "$(mirror)" "$work/app"
  fails 75 'cannot fetch' "$scripts/clone.sh" "$build"
  [[ $(<"$build/src/file") == one && ! -e $build/.src.tmp ]]
}

@test "a remote that is not there is exit 75, and leaves nothing" {
  stage
  mv app elsewhere
  fails 75 "cannot fetch file://$work/app (is it there, and may the token read it?)" "$scripts/clone.sh" "$build"
  [[ ! -e $build/src && ! -e $build/.src.tmp ]]
  mv elsewhere app
  steps clone
  whole
  mv app elsewhere
  fails 75 "cannot fetch" "$scripts/clone.sh" "$build" # with a mirror too
  [[ -d $(mirror) ]]
}

@test "a mirror that was deleted or damaged is made anew" {
  for n in {1..40}; do echo "$n $RANDOM" >"app/$n"; done
  commit app
  app gc -q
  stage
  steps clone
  damage() {
    case $1 in
      deleted) rm -rf "$(mirror)" ;;
      'half made') rm -rf "$(mirror)" && mkdir "$(mirror)" ;;
      'empty HEAD') : >"$(mirror)/HEAD" ;;
      'empty config') : >"$(mirror)/config" ;;
      'truncated pack') git --git-dir="$(mirror)" gc -q && chmod u+w "$(mirror)"/objects/pack/*.pack && truncate -s -500 "$(mirror)"/objects/pack/*.pack ;;
      'no objects') find "$(mirror)/objects" -type f -delete ;;
      'empty refs') find "$(mirror)/refs" -type f -exec truncate -s 0 {} + ;;
      'stale lock') touch "$(mirror)/packed-refs.lock" "$(mirror)/HEAD.lock" "$(mirror)/config.lock" && mkdir -p "$(mirror)/refs/heads" && touch "$(mirror)/refs/heads/main.lock" ;;
      'a file') rm -rf "$(mirror)" && : >"$(mirror)" ;;
      *) return 1 ;;
    esac
  }
  for kind in deleted 'half made' 'empty HEAD' 'empty config' 'truncated pack' 'no objects' 'empty refs' 'stale lock' 'a file'; do
    echo "$kind"
    damage "$kind"
    commit app file "$kind"
    stage
    steps clone
    whole
  done
}

@test "a mirror that lost an older part of the history is made anew" {
  for n in {1..5}; do commit app "$n" "$n $RANDOM"; done
  stage
  steps clone
  for object in HEAD~3 HEAD:1; do
    object=$(app rev-parse "$object")
    rm "$(mirror)/objects/${object:0:2}/${object:2}"
    steps clone
    whole
  done
}

@test "a damaged mirror inside another repository leaves that one alone" {
  stage
  steps clone
  git init -q -b trunk "$work"
  git "${git_identity[@]}" commit -q --allow-empty -m outer
  git branch outer
  : >"$(mirror)/HEAD"
  steps clone
  whole
  [[ $(git for-each-ref --format '%(refname) %(contents:subject)' | xargs) == "refs/heads/outer outer refs/heads/trunk outer" ]]
}

@test "two clones of one repository wait for one another" {
  stage
  one=$build
  stage
  mkdir -p "${work}/builds/.cache/git/${repository%/*}"
  exec {lock}>"$(mirror).lock"
  flock "$lock"
  { exec {lock}>&- && "$scripts/clone.sh" "$one"; } >first 2>&1 &
  { exec {lock}>&- && "$scripts/clone.sh" "$build"; } >second 2>&1 &
  until_true grep -q at first
  until_true grep -q at second
  [[ ! -e $(mirror) ]]
  exec {lock}>&-
  wait
  whole
  build=$one
  whole
}

@test "what git leaves running holds no lock" {
  mkdir "$work/bin"
  printf '#!/bin/bash\n[[ " $* " != *" fetch "* ]] || { sleep 60 >/dev/null 2>&1 & echo "$!" >"%s"; }\nexec "%s" "$@"\n' \
    "$work/left" "$(type -P git)" >"$work/bin/git" && chmod +x "$work/bin/git"
  stage
  PATH=$work/bin:$PATH steps clone
  kill -0 "$(<"$work/left")"
  flock -n "$build/lock" true
  flock -n "$(mirror).lock" true
  kill "$(<"$work/left")"
}

@test "five at once, while branches come and go, are each complete" {
  local -a all
  for n in {1..5}; do
    stage
    all+=("$build")
  done
  for build in "${all[@]}"; do "$scripts/clone.sh" "$build" >"$work/out.${build##*/}" 2>&1 & done
  for n in {1..8}; do app branch "b$n" && app branch -D "b$n"; done
  wait
  for build in "${all[@]}"; do whole; done
}

@test "names of files survive: spaces, CJK, emoji, newline, leading dash" {
  names=('a b' '日本語' '🎉' $'new\nline' '-rf' '$(touch x)' "it's" '"q"' $'tab\t' ' ' '...' $'\u202egpj.exe')
  for name in "${names[@]}"; do printf %s "$name" >"app/$name"; done
  ln -s 'a b' app/link
  commit app
  stage
  steps clone
  whole
  for name in "${names[@]}"; do [[ $(<"$build/src/$name") == "$name" ]]; done
  [[ -L $build/src/link ]]
}

@test "names of branches survive, and run nothing" {
  cd "$work"
  names=('$(touch${IFS}ran)' '`touch${IFS}ran`' "it's" '"q"' 'a;touch${IFS}ran' '日本🎉' '%s%n' "$(printf 'x%.0s' {1..200})" 'a]b' '--upload-pack=x/y')
  for name in "${names[@]}"; do
    app update-ref "refs/heads/$name" HEAD
    app update-ref "refs/tags/t$name" HEAD
  done
  for name in "${names[@]:0:3}"; do
    stage "refs/heads/$name"
    steps clone
  done
  whole
  for name in "${names[@]}"; do
    src rev-parse -q --verify "refs/remotes/origin/$name"
    src rev-parse -q --verify "refs/tags/t$name"
  done
  [[ ! -e ran && ! -e $build/src/ran && ! -e $build/ran ]]
}

@test "paths with spaces, quotes and dollars are paths" {
  mkdir "$work/it's a \"\$HOME\" \`x\` *"
  mv app "$work/it's a"*
  work="$work/it's a \"\$HOME\" \`x\` *"
  clone_of app
  stage
  steps clone
  whole
  mkdir -p "$work/elsewhere/latest"
  export CDPATH=$work/elsewhere
  cd "$build/.."
  "$scripts/clone.sh" latest
  "$scripts/clone.sh" ./latest/
  cd ./latest
  "$scripts/clone.sh" .
  whole
}

@test "git's variables from the caller's environment do not lead it elsewhere" {
  stage
  repository other
  export GIT_DIR=$work/other/.git GIT_WORK_TREE=$work/other GIT_INDEX_FILE=$work/other/.git/index
  run "$scripts/clone.sh" "$build"
  unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
  echo "$output" && [[ $status -eq 0 ]]
  whole
  [[ $(git -C other for-each-ref | wc -l) -eq 1 && $(git -C other remote) == "" ]]
}

@test "submodules are there, by relative URLs too, and theirs" {
  relocal
  repository inner inner.txt deep
  repository lib lib.txt text
  submodule lib ../inner "with space/inner"
  submodule app ../lib lib
  submodule app "file://$work/inner" direct
  stage
  steps clone
  whole
  [[ $(<"$build/src/lib/lib.txt") == text && $(<"$build/src/lib/with space/inner/inner.txt") == deep && $(<"$build/src/direct/inner.txt") == deep ]]
  [[ $(src -C lib remote get-url origin) == "file://$work/lib" ]]
  steps clone
  whole
}

# packs: how many packs git has received from remotes since the last time; but for those of the mirror.
packs() {
  grep -c 'sideband< PACK' "$work/packets" || true
  : >"$work/packets"
}

@test "a submodule is fetched once, whatever builds there are" {
  relocal
  repository lib lib.txt text
  head -c 300000 /dev/urandom | base64 >lib/big && commit lib
  git -C lib branch other
  submodule app ../lib lib
  export GIT_TRACE_PACKET=$work/packets
  stage
  steps clone
  [[ $(packs) -ge 2 && -f $build/src/lib/big ]]
  for _ in 1 2; do
    stage
    steps clone
    [[ $(packs) -eq 0 && -f $build/src/lib/big && ! $(src submodule status) =~ ^[+-] ]]
    [[ ! $(git -C "$build/src/lib" fsck --no-dangling --no-progress 2>&1) ]]
  done
  rm -rf "$work/builds/.cache" # and what was built does not hang on the cache
  git -C "$build/src/lib" fsck --no-dangling
}

@test "HISTORY_ONLY=1 leaves submodules and LFS files out" {
  relocal
  repository lib lib.txt text
  submodule app ../lib lib
  lfs app
  stage
  HISTORY_ONLY=1 steps clone
  [[ ! -e $build/src/lib/lib.txt && $(head -c 7 "$build/src/big.bin") == version ]]
}

@test "an LFS object is fetched once, whatever builds there are, and not kept in src/.git" {
  lfs app
  stage
  steps clone
  big=$(sha256sum <"$build/src/big.bin")
  mv app/.git/lfs app/.git/lfs.away # nobody has it but us
  for _ in 1 2; do
    stage
    steps clone
    [[ $(sha256sum <"$build/src/big.bin") == "$big" && ! -e $build/src/.git/lfs/objects ]]
  done
}

@test "a submodule's commit that its remote lacks, and a path without an entry, are the repository's fault" {
  relocal
  repository lib lib.txt text
  submodule app ../lib lib
  stage
  app update-index --cacheinfo "160000,$(printf '%040d' 7),lib"
  app commit -q -m gone
  stage
  fails 1 "a submodule's commit is not in its remote: " "$scripts/clone.sh" "$build"
  [[ ${output##*$'\n'} == *0000000007* && -d $(mirror) ]]
  app update-index --cacheinfo "160000,$(git -C lib rev-parse HEAD),lib" --add --cacheinfo "160000,$(app rev-parse HEAD),stray"
  app commit -q -m stray
  stage
  fails 1 "No url found for submodule path 'stray' in .gitmodules" "$scripts/clone.sh" "$build"
  # nested
  git -C lib update-index --add --cacheinfo "160000,$(app rev-parse HEAD),deep"
  echo >lib/.gitmodules
  git -C lib add .gitmodules
  git -C lib "${git_identity[@]}" commit -q -m deep
  app rm -q --cached stray
  app update-index --cacheinfo "160000,$(git -C lib rev-parse HEAD),lib"
  app commit -q -m nested
  stage
  fails 1 "No url found for submodule path 'lib/deep' in .gitmodules" "$scripts/clone.sh" "$build"
}

@test "a path without an entry and without .gitmodules is an empty folder, LFS or not" {
  lfs app
  app update-index --add --cacheinfo "160000,$(app rev-parse HEAD),stray"
  app commit -q -m stray
  stage
  steps clone
  [[ -d $build/src/stray && $(head -c 7 "$build/src/big.bin") != version ]]
}

@test "what git can check out only with an error is checked out; the mirror is kept" {
  printf 'caf\351\n' >app/a.txt
  app add a.txt
  app commit -q -m latin
  echo '*.txt working-tree-encoding=UTF-16LE' >app/.gitattributes
  app add .gitattributes
  app commit -q -m attributes
  stage
  steps clone
  touch "$(mirror)/the same"
  stage
  run -0 "$scripts/clone.sh" "$build"
  [[ -s $build/src/a.txt && -e "$(mirror)/the same" && $output != *"made anew"* && $output != *"making it anew"* ]]
}

@test "what git does not check out is the repository's fault at once, in git's words; the mirror is kept" {
  stage
  steps clone
  touch "$(mirror)/the same"
  blob=$(echo evil | app hash-object -w --stdin)
  long=$(printf '%0300d' 7)
  for path in "$long" '.GIT/config'; do
    tree=$(printf '100644 blob %s\t%s\n' "$blob" "${path##*/}" | app mktree)
    [[ $path != */* ]] || tree=$(printf '040000 tree %s\t%s\n' "$tree" "${path%/*}" | app mktree)
    app update-ref refs/heads/main "$(app commit-tree -p HEAD -m "$path" "$tree")"
    stage
    fails 1 "git does not check out " "$scripts/clone.sh" "$build"
    [[ ${output##*$'\n'} == *"${path:0:9}"* && -e "$(mirror)/the same" && ! -e $build/src ]]
    [[ $(grep -c 'new branch' <<<"$output") -eq 0 ]] # it was not downloaded again
  done
}

@test "clones that were ended half-way leave no more in the mirror than one" {
  for n in 1 2 3 4 5; do
    stage
    mkdir -p "$(mirror)/objects/pack"
    [[ -e $(mirror)/HEAD ]] || git init -q --bare "$(mirror)"
    head -c 100000 /dev/zero >"$(mirror)/objects/pack/tmp_pack_$n" # as a killed fetch leaves them
    : >"$(mirror)/objects/pack/tmp_idx_$n"
  done
  steps clone
  [[ -z $(find "$(mirror)/objects" -name 'tmp_*') ]]
  whole
}

@test "a first clone of many branches is a line, not one for each" {
  for n in {1..200}; do echo "create refs/heads/b$n $(app rev-parse HEAD)"; done | app update-ref --stdin
  stage
  run -0 "$scripts/clone.sh" "$build"
  [[ ${#lines[@]} -lt 10 && -z $(find "$(mirror)/refs/heads" -type f) ]]
}

@test "a cache on another disk than the builds serves as well" {
  [[ $EUID -eq 0 ]] || skip "mounting another disk takes root"
  mkdir -p "$work/builds/.cache"
  mount -t tmpfs -o size=16m tmpfs "$work/builds/.cache"
  for _ in 1 2; do
    stage
    run -0 "$scripts/clone.sh" "$build"
    [[ $output != *"anew"* ]]
    whole
  done
  umount "$work/builds/.cache"
}

@test "a shallow remote is told as that, at once" {
  for n in 1 2 3; do commit app file "$n"; done
  git clone -q --depth 1 "file://$work/app" "$work/shallow"
  stage
  change '.settings.url = $url' --arg url "file://$work/shallow"
  fails 1 'is a shallow repository' "$scripts/clone.sh" "$build"
}

@test "a submodule that cannot be fetched is exit 75, and leaves nothing" {
  repository lib lib.txt text
  submodule app ../lib lib
  stage
  fails 75 '(is its url in .gitmodules right' "$scripts/clone.sh" "$build" # git forbids local ones
  relocal
  mv lib elsewhere
  fails 75 'cannot fetch a submodule' "$scripts/clone.sh" "$build"
  [[ ! -e $build/src ]]
}

@test "a submodule that a stranger forged runs nothing and stays inside" {
  relocal
  for forged in $'url = ../app\n\tupdate = !touch ran' 'url = ext::sh -c touch% ran' 'url = --upload-pack=touch ran' 'url = -u./x'; do
    printf '[submodule "x"]\n\tpath = x\n\t%s\n' "$forged" >app/.gitmodules
    app add .gitmodules
    app update-index --add --cacheinfo "160000,$(app rev-parse HEAD),x"
    app commit -q -m "$forged"
    stage
    case $forged in # what is no url to git is as one that is not there
      *' = -'*) fails 1 "No url found for submodule path 'x'" "$scripts/clone.sh" "$build" ;;
      *) fails 75 'cannot fetch a submodule' "$scripts/clone.sh" "$build" ;;
    esac
    [[ ! -e $build/src && ! $(find "$work" -name ran) ]]
  done
}

# lfs NAME: an LFS file `big` in $work/NAME, as its author would add it.
lfs() {
  git -C "$work/$1" lfs install --local >lfs.out
  git -C "$work/$1" lfs track '*.bin' >lfs.out
  commit "$1" big.bin "the content, not a pointer"
}

@test "Git LFS files are files, in submodules too" {
  relocal
  lfs app
  repository lib
  lfs lib
  submodule app ../lib lib
  [[ $(app show HEAD:big.bin) == "version https://git-lfs"* ]]
  for global in /dev/null "$work/global"; do # git lfs install was, or was not, run on this host
    export GIT_CONFIG_GLOBAL=$global GIT_CONFIG_SYSTEM=/dev/null
    [[ $global == /dev/null ]] || git lfs install --skip-repo >lfs.out
    stage
    steps clone
    whole
    [[ $(<"$build/src/big.bin") == "the content, not a pointer" && $(<"$build/src/lib/big.bin") == "the content, not a pointer" ]]
  done
}

@test "without git-lfs a repository that needs it is told so, exit 75, and any other is cloned" {
  mkdir bin
  printf '#!/bin/sh\nexit 127\n' >bin/git-lfs
  chmod +x bin/git-lfs
  stage
  PATH=$work/bin:$PATH steps clone
  whole
  lfs app
  stage
  for global in /dev/null "$work/global"; do
    export GIT_CONFIG_GLOBAL=$global GIT_CONFIG_SYSTEM=/dev/null
    [[ $global == /dev/null ]] || git lfs install --skip-repo >lfs.out
    PATH=$work/bin:$PATH fails 75 'keeps files in Git LFS, which this host lacks (install git-lfs)' "$scripts/clone.sh" "$build"
    [[ ! -e $build/src && $output != *damaged* ]]
  done
}

@test "an LFS file that is not in the store is exit 75, and leaves nothing" {
  lfs app
  rm -rf app/.git/lfs
  stage
  fails 75 "cannot fetch the repository's Git LFS files" "$scripts/clone.sh" "$build"
  [[ ! -e $build/src ]]
}

@test "filters and hooks that a repository asks for do not run" {
  printf '* filter=evil diff=evil merge=evil\n' >app/.gitattributes
  printf '[filter "evil"]\n\tsmudge = touch ran\n' >app/.gitconfig
  mkdir app/hooks && printf '#!/bin/sh\ntouch ran\n' >app/hooks/post-checkout && chmod +x app/hooks/post-checkout
  commit app
  cp app/hooks/post-checkout app/.git/hooks/
  stage
  steps clone
  whole
  [[ ! $(find "$work" -name ran) ]]
}

@test "a builds folder that cannot be written is exit 75" {
  stage
  : >"$work/builds/.cache"
  fails 75 "clone.sh: cannot write $work/builds/.cache" "$scripts/clone.sh" "$build"
}

@test "a build.json that is cut off is exit 2" {
  stage
  truncate -s 50 "$build/build.json"
  fails 2 'build.json cannot be read (stage the build again)' "$scripts/clone.sh" "$build"
  : >"$build/build.json"
  fails 2 'build.json cannot be read (stage the build again)' "$scripts/clone.sh" "$build"
}

@test "what becomes an image has the same modes whatever the umask; the rest is for the group" {
  for mask in 002 077; do
    umask "$mask"
    commit app file "$mask"
    stage
    steps clone
    [[ $(stat -c %a "$build/src" "$build/src/file" | paste -sd ' ') == '755 644' ]]
    [[ $(stat -c %a "$build" "$build/build.json" "$build/console.log" | paste -sd ' ') == '750 640 640' ]]
  done
}
