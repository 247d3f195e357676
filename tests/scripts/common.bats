#!/usr/bin/env bats
# common.sh: how a build.json is read. All the rest of it is seen in the scripts' own tests.

setup() {
  load ../support/helper
  common_setup
  build=$work
}

# reads KEY...: read_build of $build, and then what the shell makes of the words that follow --.
reads() {
  local -a keys=()
  while [[ $1 != -- ]]; do keys+=("$1") && shift; done
  # shellcheck disable=SC2016 # for the inner shell to expand
  run --separate-stderr bash -c 'set -euo pipefail; . "$1/lib/common.sh"; build=$2; read_build "${@:4}"; eval "$3"' step "$scripts" "$build" "$2" "${keys[@]}"
}

@test "scalars, null, a list and an object, named as their keys end" {
  printf '%s\n' '{"a": {"text": "x=y [z] {}\n", "number": 1, "no": false, "nothing": null, "list": ["p", "q r", ""], "none": [],
    "object": {"k-1": "v", "k.2": "a=b"}}, "textual": "other", "text": "top"}' >"$build/build.json"
  reads a.{text,number,no,nothing,list,none,object} -- 'declare -p text number no nothing list none object'
  [[ $status -eq 0 && $output == *"text=\$'x=y [z] {}\n'"* && $output == *'number="1"'*'no="false"'*'nothing=""'* ]]
  [[ $output == *'list=([0]="p" [1]="q r" [2]="")'*'declare -a none'* && $output == *'[k-1]="v"'* && $output == *'[k.2]="a=b"'* ]]
}

@test "what stands in the file is never code" {
  jq -n --arg evil 'x]$(touch pwned)`touch pwned`' '{o: {($evil): $evil}, l: [$evil], s: $evil}' >"$build/build.json"
  cd "$work"
  reads o l s -- 'for key in "${!o[@]}"; do [[ $key == "${l[0]}" && ${o[$key]} == "$s" ]]; done; echo "$s"'
  [[ $status -eq 0 && $output == 'x]$(touch pwned)`touch pwned`' && ! -e pwned ]]
}

@test "jq runs once for a file, and again for one that was changed" {
  mkdir "$work/bin"
  printf '#!/bin/sh\necho once >>"%s"\nexec "%s" "$@"\n' "$work/ran" "$(type -P jq)" >"$work/bin/jq" && chmod +x "$work/bin/jq"
  PATH=$work/bin:$PATH
  echo '{"a": "one"}' >"$build/build.json"
  for _ in 1 2 3; do
    reads a -- 'echo "$a"'
    [[ $output == one ]]
  done
  [[ $(<"$work/ran") == once ]]
  echo '{"a": "two"}' >"$build/build.json"
  reads a -- 'echo "$a"'
  [[ $output == two && $(<"$work/ran") == $'once\nonce' ]]
}

@test "what a crash has cut off is made anew" {
  echo '{"a": "one", "b": "two"}' >"$build/build.json"
  reads a b -- :
  for size in 0 5 10; do
    truncate -s "$size" "$build/.build.kept"
    reads a b -- 'echo "$a $b"'
    [[ $status -eq 0 && $output == "one two" && $(stat -c %s "$build/.build.kept") -gt 10 ]]
  done
}

@test "a key that is not there, or no JSON, is exit code 2, again and again" {
  for text in '{"b": 1}' '{"a": ' '' '[]' '"a"'; do
    echo "$text" >"$build/build.json"
    for _ in 1 2; do
      reads a -- :
      [[ $status -eq 2 && $stderr == *"build.json cannot be read (stage the build again)" ]]
    done
  done
}

@test "stage.sh leaves what would be made of its build.json" {
  jq -n '{builds: $ARGS.named.builds, settings: {url: "file:///o/n.git", branches: ["a", "", "\"b\"\n"], build_args: {"x=": "é&"}, target: null}}' \
    --arg builds "$work/builds" >"$work/settings"
  BEFORE='"' EVENT='\&' SETTINGS=$(<"$work/settings") run -0 "$scripts/stage.sh" o/n 'refs/heads/a"&b' 1234567890123456789012345678901234567890
  build=$output
  mv "$build/.build.kept" "$work/left"
  reads id settings.branches -- 'echo "$id ${branches[2]}"'
  [[ $status -eq 0 && $output == "${build##*/} \"b\"" ]]
  cmp "$work/left" "$build/.build.kept"
  [[ $(jq -c '[.format, .id, .ref, .before, .event, .settings]' "$build/build.json") == \
    "$(jq -c --arg id "${build##*/}" '[1, $id, "refs/heads/a\"&b", "\"", "\\&", .settings]' "$work/settings")" ]]
}
