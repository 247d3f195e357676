#!/usr/bin/env bats
# common.sh: the settings of a build as files, the texts of build.json, and the record of a step called by itself.

setup() {
  load ../support/helper
  common_setup
  configure nowhere
  stage refs/heads/main "$(printf '%040d' 1)"
}

# in_step COMMANDS [ARG...]: what a step would see of $build, with ARG... as "$@".
in_step() {
  # shellcheck disable=SC2016 # for the inner shell to expand
  run --separate-stderr bash -c 'set -euo pipefail; . "$1/lib/common.sh"; take_build "$2"; eval "$3"' \
    step.sh "$scripts" "$build" "$@"
}

# old: the build is as version 0.1.0 has staged it.
old() { rm -rf "$build/settings"; }

# files: the settings as they lie there, a line each.
files() { (cd "$build/settings" && find . ! -name .schema -printf '%y %P %s\n' | sort); }

@test "each setting is a file: texts, numbers, null, lists, objects and secrets" {
  change '.settings += {dockerfile: "docker/Real file", target: null, context: "", keep: 7, status: false,
    branches: ["p", "q r", "a\nb"], tags: [], build_args: {"K": "a=b", "EMPTY": ""}, install: {command: ["x"], env: {"T": {"secret": "npm"}}}}'
  in_step :
  [[ $status -eq 0 ]]
  cd "$build/settings"
  [[ $(<dockerfile) == "docker/Real file" && ! -e target && -f context && ! -s context && $(<keep) == 7 && $(<status) == false ]]
  [[ $(tr '\0' '|' <branches) == $'p|q r|a\nb|' && -f tags && ! -s tags && $(tr '\0' '|' <install/command) == 'x|' ]]
  [[ $(<build_args/K) == a=b && -f build_args/EMPTY && ! -s build_args/EMPTY && $(<install/env/T.secret) == npm ]]
  [[ $(<test/network) == none && $(<timeouts/npm-install) == 900 && ! -e version/prerelease ]]
}

@test "stage.sh leaves what would be made of its build.json" {
  files >"$work/staged"
  cp -a "$build/settings" "$work/settings"
  old
  in_step :
  files | diff "$work/staged" -
  diff -r "$work/settings" "$build/settings"
}

@test "setting and list_setting give what is there, and nothing for null" {
  change '.settings += {target: "a b", branches: ["p", "", "q r"]}'
  in_step 'list_setting items branches; list_setting none install/command
    printf "%s|" "$(setting target)" "$(setting context)" "$(setting install/image)" "${#none[@]}" "${items[@]}"'
  [[ $status -eq 0 && $output == "a b|.||0|p||q r|" ]]
}

@test "what stands in the files is never code" {
  evil='x]$(touch pwned)`touch pwned`"'
  change --arg evil "$evil" '.settings += {target: $evil, branches: [$evil], build_args: {A: $evil}} | .ref = "refs/heads/" + $evil'
  cd "$work"
  in_step 'list_setting items branches; ci_variables
    [[ $(setting target) == "$4" && ${items[0]} == "$4" && $(setting build_args/A) == "$4" && $(fact ref) == "refs/heads/$4" ]]' "$evil"
  [[ $status -eq 0 && ! -e pwned ]]
}

@test "a person's edit of a file stays, and build.json is as it was" {
  before=$(<"$build/build.json")
  printf api >"$build/settings/context"
  for _ in 1 2; do
    in_step 'setting context'
    [[ $output == api && $(<"$build/build.json") == "$before" ]]
  done
}

@test "what an older version did not write is filled in: its value in build.json, else the default" {
  change '.settings.context = "web" | del(.settings.keep, .settings.timeouts.build, .settings.skip_ci) | .settings.retries = {clone: 9}'
  in_step 'printf "%s|" "$(setting context)" "$(setting keep)" "$(setting timeouts/build)" "$(setting skip_ci)" "$(setting retries/clone)" "$(setting retries/tag-push)"'
  [[ $status -eq 0 && $output == "web|20|1800|true|9|3|" ]]
}

@test "a key that a newer version knows is filled in, and an edit is kept" {
  copy_of_scripts
  printf edited >"$build/settings/context"
  jq '."$defs".settings.properties.new = {type: "string", default: "now"}' "$root/wrapper/config.schema.json" >"$work/own/wrapper/config.schema.json"
  in_step 'printf "%s|" "$(setting context)" "$(setting new)"'
  [[ $status -eq 0 && $output == "edited|now|" ]]
}

# copy_of_scripts: $scripts is a checkout of its own from here on.
copy_of_scripts() {
  mkdir -p "$work/own/wrapper"
  cp -a "$scripts" "$work/own/"
  scripts=$work/own/scripts
}

@test "a fill-in that was cut off is made whole" {
  old
  in_step :
  files >"$work/whole"
  rm "$build/settings/.schema" "$build/settings/context" "$build/settings/timeouts/build"
  in_step :
  [[ $status -eq 0 ]]
  files | diff "$work/whole" -
}

@test "facts of build.json, whoever has written the file" {
  ref='refs/heads/a"b",{"commit":"x\u00e9'
  change --arg ref "${ref%\\*}é" '.ref = $ref'
  for form in -c "--indent 4" --tab; do
    # shellcheck disable=SC2086
    jq $form . "$build/build.json" >"$work/other" && cp "$work/other" "$build/build.json"
    in_step 'printf "%s|" "$(fact ref)" "$(fact source)" "$(fact commit)"'
    [[ $status -eq 0 && $output == "refs/heads/a\"b\",{\"commit\":\"xé|manual|$(printf '%040d' 1)|" ]] || { echo "$form: $output$stderr" && false; }
  done
}

@test "a build.json that is none is exit code 2, again and again" {
  for text in '{"format": 1}' '{"format": 1, "settings"' '{"a": ' '' '[]' '"a"'; do
    echo "$text" >"$build/build.json"
    old
    for _ in 1 2; do
      in_step 'fact ref'
      [[ $status -eq 2 && $stderr == *"build.json cannot be read (stage the build again)" ]] || { echo "$text: $status $stderr" && false; }
    done
  done
}

@test "a newer format is refused in words, and nothing is touched" {
  change '.format = 2'
  for step in clone version pipeline; do
    fails 2 "build.json has format 2, this version knows 1 (update docker-build-server)" "$scripts/$step.sh" "$build"
  done
  [[ $(ls -A "$build") == build.json ]]
}

@test "a step called by itself leaves its output in console.log, and runs/STEP.json" {
  echo "what was there" >"$build/console.log"
  fails 75 "cannot fetch" "$scripts/clone.sh" "$build"
  message=${output##*$'\n'}
  [[ $(head -n 1 "$build/console.log") == "what was there" ]]
  [[ $(tail -n +2 "$build/console.log") == "$output" ]]
  run jq -r --arg me "$(id -un)@$HOSTNAME" '[.format, .by == $me, .exit_code, .message, .offset, .["end"]] | @tsv' "$build/runs/clone.json"
    [[ $output == $'1\ttrue\t75\t'"$message"$'\t15\t'"$(stat -c %s "$build/console.log")" ]]
  run jq -r '.started_at < .finished_at, .started_at' "$build/runs/clone.json"
  [[ ${lines[0]} == true && ${lines[1]} =~ ^20[0-9-]{8}T[0-9:]{8}\.[0-9]{6}Z$ ]]
}

@test "runs/STEP.json tells of the last run, who wanted it, and nothing of an earlier failure" {
  fails 75 "cannot fetch" "$scripts/clone.sh" "$build"
  repository nowhere file one
  change --arg commit "$(git -C "$work/nowhere" rev-parse HEAD)" '.commit = $commit'
  RUN_BY=api run -0 "$scripts/clone.sh" "$build"
  [[ $(jq -c '[.by, .exit_code, .message]' "$build/runs/clone.json") == '["api",0,null]' ]]
  [[ $(ls "$build/runs") == clone.json ]]
}

@test "a step under the pipeline leaves no record of its own" {
  run "$scripts/pipeline.sh" "$build"
  [[ $status -eq 75 && ! -e $build/runs ]]
}

@test "the lock names host, process and a token; and is held by one" {
  in_step 'read -r host pid token rest <"$build/lock"; [[ $host == "$HOSTNAME" && $pid -eq $$ && ${#token} -gt 15 && ! $rest ]]'
  [[ $status -eq 0 ]]
  exec {lock}<>"$build/lock"
  flock "$lock"
  echo "elsewhere 4712 abc" >"$build/lock"
  fails 69 "is being worked on by process 4712 (wait for it" "$scripts/clone.sh" "$build"
}

@test "what finds no room is not left as if it were there" {
  [[ $EUID -eq 0 ]] || skip "mounting a small disk takes root"
  mount -t tmpfs -o size=1m tmpfs "$work/builds"
  mkdir -p "$build"
  echo '{"format": 1, "settings": {}}' >"$build/build.json"
  in_step 'head -c 9000000 /dev/zero >"$build/fill" || true
    (leave version 1.2.3-a-version-as-long-as-this) || code=$?; [[ ! -e $build/version && $code -eq 75 ]] || ls -la "$build"; need version'
  umount "$work/builds"
  [[ $status -eq 2 && $stderr == *"has no version"* ]]
}

@test "a build that cannot be written to is told as that" {
  [[ $EUID -eq 0 ]] || skip "needs root, to be somebody else"
  theirs=$(mktemp -d /tmp/common.XXXXXX) # no stranger gets into the test's own folder
  chmod a+rx "$theirs"
  mkdir -p "$theirs/o/n"
  cp -a "$build" "$theirs/o/n/"
  build=$theirs/o/n/${build##*/}
  fails 75 "cannot write $build/lock (whose is it? ls -l tells)" setpriv --reuid=65534 --clear-groups "$scripts/clone.sh" "$build"
  rm -rf "$theirs"
}
