# version.sh: what real git repositories make of it. The rules themselves: test_rules.py,
# test_choose.py, test_tags.py.

setup() {
  load ../support/helper
  common_setup
  cd "$work" || return
  repository app package.json '{"name": "app", "private": true}'
}

# app ARGS...: git in the remote.
app() { git -C "$work/app" "${git_identity[@]}" "$@"; }

# versioned [REF [SETTINGS]]: stages, clones, and runs version.sh; $output is what it says.
versioned() {
  configure app "${2:-{\}}"
  stage "${1:-main}"
  steps clone
  run -0 "$scripts/version.sh" "$build"
}

# version_is VERSION: where ~ stands for .gSHA.
version_is() {
  local sha
  sha=$(jq -r '.commit[:7]' "$build/build.json")
  [[ $(<"$build/version") == "${1/\~/.g$sha}" && $(wc -l <"$build/version") -eq 1 ]] \
    || { printf 'version %s\n%s\n' "$(<"$build/version")" "$output" && return 1; }
}

# tags_are TAG...: in this order; ~ stands for the version, sha for sha-SHA.
tags_are() {
  local sha expected=("$@")
  sha=sha-$(jq -r '.commit[:7]' "$build/build.json")
  expected=("${expected[@]/#\~/$(<"$build/version")}")
  diff <(printf '%s\n' "${expected[@]/%sha/$sha}") "$build/tags"
}

# fact KEY
fact() { jq -r "$1" "$build/build.json"; }

# label KEY
label() { sed -n "s/^org\.opencontainers\.image\.$1=//p" "$build/labels"; }

@test "it keeps the promises of a step" {
  is_a_step version
}

@test "needs the checkout" {
  configure app
  stage main
  fails 2 "has no src (run the steps before this one first)" "$scripts/version.sh" "$build"
  [[ ! -e $build/version ]]
}

@test "a branch of a repository without tags" {
  commit app file two
  versioned main
  version_is 0.1.0-main.2~
  tags_are '~' sha main
  [[ ${lines[0]} == "version.sh: $(<"$build/version"): 2 commits, next is 0.1.0 (no release yet)" ]]
  [[ ${lines[1]} == "version.sh: $(<"$build/version"), published as $(<"$build/version") sha-"*" main" ]]
  [[ ${#lines[@]} -eq 2 ]]
  versioned main '{"publish": ["web-{version}", "{branch}"]}'
  tags_are "web-$(<"$build/version")" main
}

@test "a publish that gives nothing for a build: it says so, and the build goes on" {
  versioned main '{"publish": ["{major}.{minor}", "latest"]}'
  [[ -e $build/tags && ! -s $build/tags && -s $build/labels ]]
  [[ ${lines[1]} == "version.sh: $(<"$build/version"), nothing will be published: publish has only"* ]]
  [[ $output == *'"{major}.{minor}", "latest" for releases (add "{version}")' ]]
  app tag v1.0.0
  versioned v1.0.0 '{"publish": ["{branch}"]}'
  [[ ! -s $build/tags ]]
  [[ $output == *'1.0.0, nothing will be published: publish has only "{branch}" for branches '* ]]
  versioned v1.0.0 '{"publish": ["{major}.{minor}", "latest"]}'
  [[ ${lines[1]} == "version.sh: 1.0.0, published as 1.0 latest" ]]
}

@test "tags, light and annotated, with and without v, are the versions of their commits" {
  app tag v1.2.0
  commit app file two
  app tag -a -m text 1.2.1
  for tag in v1.2.0 1.2.1; do
    versioned "$tag"
    version_is "${tag#v}"
  done
  tags_are 1.2.1 sha 1.2 1 latest
  MESSAGE="feat: three" commit app file three
  versioned main
  version_is 1.3.0-main.1~
}

@test "an older line keeps to its own aliases, whatever else was released" {
  for tag in v1.2.0 v2.0.0; do
    commit app file "$tag"
    app tag "$tag"
  done
  versioned v2.0.0
  tags_are 2.0.0 sha 2.0 2 latest
  commit app file 'v3.0.0-rc.1' && app tag v3.0.0-rc.1
  commit app file 'v2.0.1+exp.1' && app tag v2.0.1+exp.1
  app checkout -q -b hotfix v1.2.0
  commit app file 'v1.2.1' && app tag v1.2.1
  versioned v1.2.1
  tags_are 1.2.1 sha 1.2 1
  versioned v2.0.0
  tags_are 2.0.0 sha 2.0 2 latest
  versioned v3.0.0-rc.1
  tags_are 3.0.0-rc.1 sha
  versioned v2.0.1+exp.1
  version_is 2.0.1+exp.1
  tags_are 2.0.1-exp.1 sha
  [[ $(label version) == 2.0.1+exp.1 ]]
}

@test "a tag that is no SemVer is refused when asked for, else passed over with a word" {
  for tag in 1.2 v1 nightly web-v1.1.0 'a"b' x1 x2; do app tag "$tag"; done
  configure app
  stage 1.2
  steps clone
  fails 1 'version.sh: tag "1.2" is no SemVer (like v1.2.3); it is not built' "$scripts/version.sh" "$build"
  [[ ! -e $build/version && ! -e $build/tags && $(<"$build/.message") == 'version.sh: tag "1.2"'* ]]
  versioned main
  version_is 0.1.0-main.1~
  [[ $output == 'version.sh: passed over, being no SemVer: tag 1.2, a"b, nightly, v1, web-v1.1.0, …'* ]]
  commit app package.json '{"version": "1.0"}'
  versioned main
  version_is 0.1.0-main.2~
  [[ $output == *$'\nversion.sh: passed over, being no SemVer: "version": "1.0" in package.json\n'* ]]
}

@test "a hotfix branch off an old release goes on from the last tag in its own history" {
  app tag v1.0.0
  MESSAGE='feat!: two' commit app file two
  app tag v2.0.0
  app checkout -q -b 'hotfix/1.0' v1.0.0
  commit app file hot
  versioned hotfix/1.0
  version_is 1.0.1-hotfix-1-0.1~
  [[ $(tail -n 1 "$build/tags") =~ ^hotfix-1\.0-[0-9a-f]{8}$ ]]
}

@test "merge and squash commits, footers and reverts, as Conventional Commits" {
  app tag v1.0.0
  app checkout -q -b side
  MESSAGE='feat: beside' commit app beside two
  app checkout -q main
  commit app file two
  app merge -q --no-ff -m "Merge pull request #1 from o/side" side
  versioned main
  version_is 1.1.0-main.3~
  MESSAGE=$'revert: feat: beside\n\nThis reverts commit 1a2b3c4.' commit app file three
  versioned main
  version_is 1.1.0-main.4~
  MESSAGE=$'Squash (#2)\n\n* fix: a\n\n* fix: b\n\nBREAKING CHANGE: c' commit app file four
  versioned main
  version_is 2.0.0-main.5~
}

@test "after a pre-release of what comes next a branch goes on from it" {
  MESSAGE='feat: two' commit app file two
  app tag v1.1.0-beta.1
  commit app file three
  versioned main
  version_is 1.1.0-beta.1.main.3~
  versioned main '{"version": {"prerelease": "alpha"}}'
  version_is 1.1.0-beta.1.alpha.3~
  app tag -a -m text v1.1.0-beta.2
  versioned main
  version_is 1.1.0-beta.2
  app checkout -q -b side HEAD~
  commit app beside four
  app tag 1.1.0-rc.1
  app checkout -q main
  commit app file five
  versioned main
  version_is 1.1.0-beta.2.main.4~
  app merge -q --no-ff -m 'Merge side' side
  versioned main
  version_is 1.1.0-rc.1.main.6~
  MESSAGE=$'six\n\nRelease-As: 2.0.0' commit app file six
  versioned main
  version_is 2.0.0-main.7~
}

@test "a squash merge by git, a merge by GitHub, a file by PowerShell" {
  app tag v1.0.0
  app checkout -q -b side
  MESSAGE='fix: a' commit app beside one
  MESSAGE='feat: b' commit app beside two
  app checkout -q main
  app merge -q --squash side
  app commit -q --no-edit
  versioned main
  version_is 1.1.0-main.1~
  app tag v1.1.0
  MESSAGE=$'Merge pull request #5 from o/side\n\nfeat: c' commit app file two
  versioned main
  version_is 1.2.0-main.1~
  app tag v1.2.0
  printf '\xef\xbb\xbffeat(app/(main))!: d\r\n' >"$work/message"
  app commit -q --allow-empty -F "$work/message"
  versioned main
  version_is 2.0.0-main.1~
}

@test "branch names that need changing" {
  app tag v1.0.0
  MESSAGE='words' commit app file two
  long=$(printf 'x%.0s' {1..200})
  for branch in feature/Straße_1 "$long" 007 a/b a-b latest 1.2; do app branch -- "$branch"; done
  versioned feature/Straße_1
  version_is 1.0.1-feature-Stra-e-1.1~
  [[ $(tail -n 1 "$build/tags") =~ ^feature-Stra-e_1-[0-9a-f]{8}$ ]]
  versioned "$long"
  while read -r tag; do [[ $tag =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ ]]; done <"$build/tags"
  [[ $(<"$build/version") =~ ^1\.0\.1-x{51}-[0-9a-f]{8}\.1\.g[0-9a-f]{7}$ && $(wc -l <"$build/tags") -eq 3 ]]
  versioned 007
  version_is 1.0.1-b007.1~
  versioned a-b
  tags_are '~' sha a-b
  for branch in a/b 007 latest 1.2; do
    versioned "$branch"
    [[ $(tail -n 1 "$build/tags") =~ ^(a-b|007|latest|1\.2)-[0-9a-f]{8}$ ]]
  done
}

@test "a commit without a branch, and a fixed pre-release identifier" {
  versioned "$(app rev-parse HEAD)"
  version_is 0.1.0-detached.1~
  tags_are '~' sha
  versioned main '{"version": {"prerelease": "beta"}}'
  version_is 0.1.0-beta.1~
  tags_are '~' sha main
}

@test "package.json ahead of the tags, behind them, and in a subfolder" {
  app tag v1.2.3
  commit app package.json '{"version": "2.0.0"}' ':sub dir/web/package.json' '{"version": "3.0.0", "name": "web"}'
  versioned main
  version_is 2.0.0-main.1~
  versioned main '{"context": ":sub dir//web/"}'
  version_is 3.0.0-main.1~
  [[ $(label title) == web ]]
  commit app package.json '{"version": "1.0.0"}'
  versioned main
  version_is 1.2.4-main.2~
  versioned main '{"context": "nowhere"}'
  version_is 1.2.4-main.2~
}

@test "a repository without tags: its default branch releases what package.json says" {
  commit app package.json '{"version": "1.0.0"}'
  versioned main
  version_is 1.0.0
  tags_are 1.0.0 sha main 1.0 1 latest
  commit app file two
  versioned main
  version_is 1.0.1-main.1~
  app checkout -q -b next
  commit app package.json '{"version": "1.1.0"}'
  app checkout -q main
  versioned next
  version_is 1.1.0-next.2~
  commit app file three
  app merge -q --no-ff -m 'Merge next' next
  versioned main
  version_is 1.1.0
  # Not what was on the way there, and built again later not above it.
  versioned next
  version_is 1.1.0-next.2~
  commit app package.json '{"version": "2.0.0"}'
  versioned "$(app rev-parse HEAD~)"
  version_is 1.1.0
  tags_are 1.1.0 sha 1.1 1
}

@test "a release of package.json whose build was red: how it is made is said, until it is" {
  commit app package.json '{"version": "1.1.0"}'
  versioned main
  red=$(fact .commit)
  [[ $output == *": 1.1.0: package.json has it since this commit"* ]]
  [[ $(<"$build/.if-red") == "1.1.0 is not published; push a commit that mends it, and then git tag v1.1.0 COMMIT "* ]]
  echo '{"status": "failure", "failed_step": "unit-test"}' >"$build/result.json"
  rm -r "$build/src" # which a retry may leave out: the records alone count

  commit app file mended
  versioned main
  version_is 1.1.1-main.1~
  mended=$(fact .commit)
  told="1.1.0 is not published: ${red:0:7}, which brought it, ended as failure at unit-test (git tag v1.1.0"
  [[ $output == *"$told ${mended:0:12} and push that, or: docker-build-server trigger $repository ${mended:0:12} --version 1.1.0)"* ]]
  [[ ! -s $build/.if-red ]]

  configure app
  RELEASE_AS=1.2.0 stage main
  steps clone
  fails 1 "it cannot be version 1.2.0: the commit's package.json says 1.1.0 (tag the commit v1.2.0, or" "$scripts/version.sh" "$build"
  RELEASE_AS=1.1.0 stage main
  steps clone version
  version_is 1.1.0
  tags_are 1.1.0 sha main 1.1 1 latest
  echo "$repository:1.1.0@sha256:0" >"$build/pushed"

  commit app file more
  versioned main
  [[ $output != *'is not published'* ]]
}

@test "a withdrawn release keeps no alias from a lower one" {
  for tag in v1.0.0 v1.1.0 v1.0.1; do
    commit app file "$tag"
    app tag "$tag"
  done
  versioned v1.0.1
  tags_are 1.0.1 sha 1.0
  echo '1.1.0 2026-11-22T05:10:00Z me@here' >"${build%/*}/withdrawn"
  versioned v1.0.1
  tags_are 1.0.1 sha 1.0 1 latest
}

@test "where tags say what the version is, nobody says another" {
  commit app package.json '{"version": "1.3.0"}'
  app tag v1.2.0
  commit app file two
  configure app
  RELEASE_AS=1.3.0 stage main
  steps clone
  fails 1 "it cannot be version 1.3.0 by hand: versions come from tags here (tag the commit v1.3.0)" "$scripts/version.sh" "$build"
  RELEASE_AS=1.3.0 stage v1.2.0
  steps clone
  fails 1 "it cannot be version 1.3.0: it is the tag v1.2.0" "$scripts/version.sh" "$build"
}

@test "where a version comes from is said" {
  app tag v1.2.0
  versioned v1.2.0
  [[ $output == *': 1.2.0: of the tag v1.2.0'* ]]
  versioned main
  [[ $output == *': 1.2.0: a tag of the commit'* ]]
  MESSAGE='feat: two' commit app file two
  versioned main
  [[ $output == *': 1 commit after 1.2.0, next is 1.3.0 (minor)'* ]]
  commit app package.json '{"version": "4.0.0"}'
  versioned main
  [[ $output == *': 2 commits after 1.2.0, next is 4.0.0 (as package.json says)'* ]]
  MESSAGE=$'fix: x\n\nRelease-As: 5.5.0' commit app file three
  versioned main
  [[ $output == *': 3 commits after 1.2.0, next is 5.5.0 (as a Release-As says)'* ]]
}

@test "the default branch is the remote's, whatever it is called" {
  app branch -m main trunk
  commit app package.json '{"version": "1.0.0"}'
  app branch master HEAD~
  versioned trunk
  version_is 1.0.0
}

@test "a package.json that is broken, or leads elsewhere, says nothing" {
  app tag v1.2.3
  echo '{"version": "9.0.0", "name": "secret"}' >"$work/outside.json"
  commit app package.json '{"version": '
  versioned main
  version_is 1.2.4-main.1~
  for target in "$work/outside.json" ../../../../../../outside.json /dev/zero package.json; do
    ln -sfn "$target" "$work/app/package.json"
    commit app
    versioned main
    [[ $(<"$build/version") == 1.2.4-main.* && ! $(label title) ]]
  done
  ln -sfn web/package.json "$work/app/package.json" # one that stays inside is as good as a file
  commit app web/package.json '{"version": "2.0.0"}'
  versioned main
  [[ $(<"$build/version") == 2.0.0-main.6.* ]]
}

@test "what counts is what was committed, not what an install made of it" {
  commit app package.json '{"version": "1.0.0"}'
  configure app
  stage main
  steps clone
  echo '{"version": "5.0.0"}' >"$build/src/package.json"
  git -C "$build/src" "${git_identity[@]}" commit -qam "feat: by an install script"
  steps version
  version_is 1.0.0
}

@test "the labels of the image" {
  commit app package.json '{"name": "@o/app", "version": "1.0.0", "license": "MIT", "description": "Two\nlines \"quoted\" $x ✓ \ud800"}'
  export PYTHONIOENCODING=ascii
  versioned main
  [[ $(label title) == @o/app && $(label licenses) == MIT && $(label description) == 'Two lines "quoted" $x ✓ ?' ]]
  [[ $(label revision) == "$(app rev-parse HEAD)" && $(label version) == 1.0.0 ]]
  [[ $(label created) == "$(app show -s --format=%cI HEAD)" ]]
  [[ $(label source) == "file://$work/app" && $(label url) == "file://$work/app" ]]
}

@test "the same on any machine: settings of git, the clock and earlier builds do not matter" {
  app tag v1.2.3
  MESSAGE='straße!: two' commit app file two
  signed=$(app cat-file commit HEAD | sed '/^$/{s/^/gpgsig of sorts\n/;:a;n;ba}' | app hash-object -t commit -w --stdin)
  app update-ref refs/heads/main "$signed"
  versioned main
  first=$(cat "$build"/{version,tags,labels})
  export HOME=$work TZ=Pacific/Auckland LC_ALL=C
  git config --global log.showSignature true
  git config --global gpg.program "$(type -p echo)"
  git config --global log.date relative
  git config --global i18n.logOutputEncoding latin1
  git config --global tag.sort -version:refname
  git config --global color.ui always
  versioned main
  [[ $(cat "$build"/{version,tags,labels}) == "$first" ]]
  "$scripts/version.sh" "$build" # and twice
  [[ $(cat "$build"/{version,tags,labels}) == "$first" ]]
}

@test "nor do they where package.json decides" {
  export HOME=$work
  git config --global log.follow true
  git config --global log.showRoot false
  repository new package.json '{"version": "1.0.0"}'
  commit new file two
  configure new
  stage main
  steps clone version
  version_is 1.0.1-main.1~

  app mv package.json app.json
  commit app app.json '{"version": "1.0.0"}'
  app mv app.json package.json
  commit app
  versioned main
  version_is 1.0.0
}

@test "a checkout that git cannot read is trouble of ours, and leaves nothing" {
  configure app
  stage main
  steps clone
  rm -rf "$build/src/.git/objects"
  fails 75 "cannot tell the version" "$scripts/version.sh" "$build"
  [[ $output == *"fatal: "* && ! -e $build/version && ! -e $build/tags && ! -e $build/labels ]]
}

# damaged COMMAND...: on a copy of $sound, in whose src/.git the command was run, no version is told.
damaged() {
  local file
  rm -rf "$build"
  cp -a "$sound" "$build"
  (cd "$build/src/.git" && "$@")
  fails 75 "(the reason is above; start over, from clone)" "$scripts/version.sh" "$build" || return
  for file in version tags labels; do
    if [[ -e $build/$file ]]; then
      echo "after $*: $file"
      return 1
    fi
  done
  if [[ $output != *$'\n'* ]]; then
    echo "after $*: no reason above"
    return 1
  fi
}

# without OBJECT: the git directory lacks it. It stands by itself, as the mirror has few of them.
without() {
  local id
  id=$(git rev-parse "$1")
  rm "objects/${id:0:2}/${id:2}"
}

@test "a damaged src/.git is trouble of ours, and never another version" {
  commit app package.json '{"version": "1.0.0"}' web/package.json '{"version": "3.0.0"}'
  app tag v0.1.0 HEAD~
  app tag -a -m text v0.2.0
  commit app package.json '{"version": "1.1.0"}'
  commit app file two
  for from in tags package.json; do
    versioned main "{\"version\": {\"from\": \"$from\"}}"
    sound=$work/sound.$from
    cp -a "$build" "$sound"
    rm "$sound"/{version,tags,labels}

    # What a power cut leaves: files that are empty, or full of zeros, or end too early.
    for tag in refs/tags/v0.2.0 refs/tags/v0.1.0 refs/tags/v9.0.0; do
      damaged truncate -s 0 $tag
      damaged truncate -s 41 $tag
    done
    for file in packed-refs refs/remotes/origin/HEAD HEAD; do
      damaged truncate -s 0 $file
    done
    for length in 20 90 130 180; do
      damaged truncate -s "$length" packed-refs
    done
    damaged sed -i '2,$d' packed-refs
    damaged sed -i '/refs.remotes/d' packed-refs
    damaged rm packed-refs

    damaged without v0.2.0
    damaged without v0.1.0
    damaged without HEAD~
    damaged without HEAD:package.json
    damaged rm -r objects
  done
  damaged without HEAD~2:package.json # what an earlier commit has released
  echo web >"$sound/settings/context"
  damaged without HEAD:web
  damaged without HEAD:web/package.json
}

@test "no other repository is asked, should a build lie in one" {
  app tag v1.0.0
  commit app file two
  versioned main
  sound=$work/sound
  cp -a "$build" "$sound"
  rm "$sound"/{version,tags,labels}
  git -C "$work" init -q
  git -C "$work" fetch -q --no-tags "$work/app" main
  damaged rm HEAD
}

@test "a package.json that was removed, or is a submodule, is none" {
  commit app package.json '{"version": "1.0.0"}'
  commit app file two
  app rm -q package.json
  commit app
  versioned main
  version_is 1.0.1-main.2~
  app update-index --add --cacheinfo "160000,$(app rev-parse HEAD),package.json"
  app commit -q -m 'fix: a submodule'
  commit app file three
  configure app
  stage main
  steps clone
  run -0 "$scripts/version.sh" "$build"
  version_is 1.0.1-main.4~
}

@test "ten thousand commits and a thousand tags take no time" {
  awk 'BEGIN {
    for (i = 0; i < 10000; i++) {
      printf "commit refs/heads/main\ncommitter a <a@b> %d +0000\ndata 7\nfix: it\n", 1600000000 + i
      if (i % 10 == 0) printf "M 100644 inline package.json\ndata <<E\n{\"version\": \"1.%d.0\"}\nE\nreset refs/tags/v1.%d.0\nfrom refs/heads/main\n\n", i, i
    }
  }' | git -C app fast-import --quiet --force
  configure app
  stage main
  steps clone
  TIMEFORMAT='%U %S' # of the processors, as others may want them too
  took=$({ time "$scripts/version.sh" "$build" >/dev/null; } 2>&1)
  version_is 1.9990.1-main.9~
  echo "$took s" && awk '{ exit $1 + $2 > 1.5 }' <<<"$took" # a third of that on an idle machine
}

@test "twenty thousand commits and two thousand releases that came by merges, in 100 MiB" {
  awk '
    # add BRANCH MESSAGE PARENT MERGED: prints a commit, and returns its mark.
    function add(branch, message, parent, merged) {
      printf "commit refs/heads/%s\nmark :%d\n", branch, ++n
      printf "committer a <a@b> %d +0000\n", 1600000000 + n
      printf "data %d\n%s\n", length(message), message
      if (parent) printf "from :%d\n", parent
      if (merged) printf "merge :%d\n", merged
      return n
    }
    BEGIN {
      main = add("main", "one")
      printf "M 100644 inline package.json\ndata <<E\n{\"version\": \"9999.0.0\"}\nE\n\n"
      for (i = 1; i <= 2000; i++) {
        side = main
        for (j = 1; j <= 8; j++) side = add("side", j == 4 ? "feat: it" : "fix: it", side)
        printf "reset refs/tags/v1.%d.0\nfrom :%d\n\n", i, side
        main = add("main", "fix: on main", main)
        main = add("main", "Merge", main, side)
      }
    }' | git -C app fast-import --quiet --force
  configure app
  stage main
  steps clone
  run -0 python3 - "$scripts/version.sh" "$build" <<<'import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"{used.ru_utime + used.ru_stime:.2f} s, {used.ru_maxrss} KiB")
sys.exit(used.ru_maxrss > 100 * 1024)'
  echo "$output" # 0.4 s and 35 MiB; what the work grows with: test_rules.py
  version_is 9999.0.0-main.20001~
}

@test "a tag on a file is no release: latest is not held back by it" {
  blob=$(echo some | app hash-object -w --stdin)
  app tag v9.9.9 "$blob"
  app tag -a -m file v9.9.8 "$blob"
  app tag v1.0.0
  versioned refs/tags/v1.0.0
  tags_are 1.0.0 sha 1.0 1 latest
}

@test "of a folder with tags of its own, what touches it counts" {
  commit app api/one 1 api/package.json '{"version": "0.0.1"}'
  app tag -a -m "" api-v1.2.3
  MESSAGE="feat!: another" commit app web/one 1
  app tag v9.0.0
  MESSAGE="feat: one" commit app api/two 2
  commit app README.md it
  versioned main '{"tag_prefix": "api-", "context": "api"}'
  version_is 1.3.0-main.1~
  [[ $output != *"passed over"* ]]

  # Of a merge what it brings counts, in whatever words.
  app checkout -q -b topic
  commit app lib/b 1
  app checkout -q main
  commit app web/two 2
  app merge -q --no-ff topic -m "feat!: with lib"
  versioned main '{"tag_prefix": "api-", "paths": ["api/**", "lib/**", "!api/two"]}'
  version_is 2.0.0-main.2~
  versioned main '{"tag_prefix": "api-", "paths": ["api/**", "!api/two"]}'
  version_is 1.2.4-main.0~
  versioned main '{"tag_prefix": "api-", "paths": ["!api/one", "api/two", "web/**"]}'
  version_is 2.0.0-main.3~
  versioned main '{"tag_prefix": "web-"}'
  version_is 0.1.0-main.8~
  versioned refs/tags/api-v1.2.3 '{"tag_prefix": "api-", "context": "api"}'
  version_is 1.2.3
  tags_are 1.2.3 sha 1.2 1 latest
  versioned main
  version_is 10.0.0-main.5~
}
