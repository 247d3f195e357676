# build.sh: what docker gets, from whichever corner of the checkout, and whose fault it is when it fails.

setup() {
  load ../support/helper
  common_setup
  cd "$work" || return
  export DOCKER=${DOCKER:-docker}
}

teardown() {
  cat "$work/images" 2>/dev/null | sort -u | xargs -r "$DOCKER" rmi -f >"$work/removed" 2>&1 || true
}

# project [FILE CONTENT]...: a commit with these files, cloned and labelled; $settings over the defaults that matter here.
project() {
  repository app "$@"
  SETTINGS=$(jq -cn --arg builds "$work/builds" --arg url "file://$work/app" --argjson more "${settings:-{\}}" '
    {$builds, settings: ({$url, context: ".", dockerfile: "Dockerfile", target: null, build_args: {}} + $more)}')
  export SETTINGS
  again
}

# again: one more build of it, ready for build.sh.
again() {
  stage
  steps clone
  echo org.example.revision="$(git -C app rev-parse HEAD)" >"$build/labels"
}

# build [VARIABLE=VALUE...]: it works, and leaves the ID of an image that the engine has, in $image.
build() {
  run env "$@" "$scripts/build.sh" "$build"
  echo "$output" && [[ $status -eq 0 ]]
  image=$(<"$build/image")
  [[ $image =~ ^sha256:[0-9a-f]{64}$ && $(wc -l <"$build/image") -eq 1 && $(inspect .Id) == "$image" && ! -e $build/.iid ]]
}

# inspect FILTER: of $image.
inspect() { "$DOCKER" image inspect -- "$image" | jq -r ".[0]$1"; }

# content FILE: in $image.
content() {
  local id
  id=$("$DOCKER" create "$image" none)
  "$DOCKER" cp "$id:/$1" - | tar -xO
  "$DOCKER" rm "$id" >removed
}

# no_buildkit: a docker client without it, as newer ones are without buildx.
no_buildkit() {
  mkdir -p bin
  cat >bin/docker <<END
#!/bin/sh
if [ "\$1" = build ] && [ "\${DOCKER_BUILDKIT-1}" != 0 ]; then
  echo 'ERROR: BuildKit is enabled but the buildx component is missing or broken.' >&2
  exit 1
fi
exec $(command -v "$DOCKER") "\$@"
END
  chmod +x bin/docker
  DOCKER=$work/bin/docker
}

plain=$'FROM scratch\nCOPY . /'

@test "it keeps the promises of a step" {
  is_a_step build
}

@test "without a checkout, or labels, it is exit 2" {
  SETTINGS='{"builds": "/nowhere", "settings": {}}' project Dockerfile "$plain"
  rm "$build/labels"
  fails 2 'has no labels (run the steps before this one first)' "$scripts/build.sh" "$build"
  rm -rf "$build/src"
  fails 2 'has no src (run the steps before this one first)' "$scripts/build.sh" "$build"
}

@test "leaves the ID of an image with the checkout, twice the same" {
  project Dockerfile "$plain" 'a file' content
  build
  first=$image
  [[ $(content 'a file') == content && $(inspect '.Config.Labels["org.example.revision"]') == "$(git -C app rev-parse HEAD)" ]]
  [[ ! $("$DOCKER" image inspect "$image" | jq -r '.[].RepoTags[]') ]]
  build
  [[ $image == "$first" && $(ls "$build/images") == "$image" ]]
}

@test "labels are what is in the file, letter by letter, the last line without an end too" {
  project Dockerfile "$plain"
  printf '%s\n' 'a.b=x=y' 'title=it'"'"'s a "title" \n $HOME `x` $(touch ran) 日本' 'empty=' '-dash=--label' >"$build/labels"
  printf last=one >>"$build/labels"
  build
  [[ $(inspect .Config.Labels | jq -cS .) == "$(jq -cnS --arg title 'it'"'"'s a "title" \n $HOME `x` $(touch ran) 日本' '{"a.b": "x=y", $title, empty: "", "-dash": "--label", last: "one"}')" ]]
  [[ ! $(find . -name ran) ]]
  : >"$build/labels"
  build
  [[ $(inspect .Config.Labels) == null ]]
}

@test "build arguments are what is in the settings, letter by letter" {
  settings=$(jq -nc '{build_args: {A: "a b=c", B: "it'"'"'s \"$HOME\" $(touch ran) `x` \\n", C: "two\nlines", D: "", E: "--label=x=y", _f: "日本"}}')
  project Dockerfile $'FROM scratch\nARG A\nARG B\nARG C\nARG D=default\nARG E\nARG _f\nLABEL a=$A b=$B c=$C d=$D e=$E f=$_f\nCOPY . /'
  build
  [[ $(inspect .Config.Labels | jq -cS 'del(.["org.example.revision"])') == "$(jq -cS '.build_args | {a: .A, b: .B, c: .C, d: .D, e: .E, f: ._f}' <<<"$settings")" ]]
  [[ ! $(find . -name ran) ]]
}

stages=$'FROM scratch AS first\nLABEL stage=first\nCOPY . /\nFROM scratch AS second\nLABEL stage=second\nCOPY --from=first /Dockerfile /x\nFROM first AS third\nLABEL stage=third'

@test "of several stages the last is built, or the target" {
  project Dockerfile "$stages"
  build
  [[ $(inspect .Config.Labels.stage) == third ]]
  settings='{"target": "second"}' again_with
  build TARGET=
  [[ $(inspect .Config.Labels.stage) == second && $output == *"Dockerfile, stage second"* ]]
}
again_with() {
  SETTINGS=$(jq -c --argjson more "$settings" '.settings += $more' <<<"$SETTINGS")
  again
}

@test "TARGET builds that stage, and leaves image as it is" {
  settings='{"target": "second"}'
  project Dockerfile "$stages"
  TARGET=first "$scripts/build.sh" "$build"
  [[ ! -e $build/image ]]
  image=$(<"$build/.test-image")
  [[ $(inspect .Config.Labels.stage) == first ]]
  build
  [[ $(inspect .Config.Labels.stage) == second && $(<"$build/.test-image") != "$image" ]]
  before=$image
  TARGET=missing fails 1 'Dockerfile does not build' "$scripts/build.sh" "$build"
  [[ $(<"$build/image") == "$before" && ! -e $build/.test-image ]]
  [[ $(find "$build/images" -type f | wc -l) -eq 2 ]]
}

@test "the context is the folder, with a Dockerfile of its own, or one elsewhere in the checkout" {
  settings='{"context": "web app/a"}'
  project "web app/a/Dockerfile" "$plain"$'\nLABEL from=context' "web app/a/file" inner file outer
  build
  [[ $(content file) == inner && $(inspect .Config.Labels.from) == context ]]
  settings='{"dockerfile": "docker/it'"'"'s \"$HOME\" `x`.Dockerfile"}' again_with
  mkdir "$build/src/docker" && echo "$plain"$'\nLABEL from=elsewhere' >"$build/src/docker/it's \"\$HOME\" \`x\`.Dockerfile"
  build
  [[ $(content file) == inner && $(inspect .Config.Labels.from) == elsewhere ]]
  settings='{"context": ".", "dockerfile": "docker/Dockerfile"}' again_with
  mkdir "$build/src/docker" && echo "$plain"$'\nLABEL from=docker' >"$build/src/docker/Dockerfile"
  build
  [[ $(content file) == outer && $(inspect .Config.Labels.from) == docker ]]
}

@test "a Dockerfile that is not there is exit 1, and the message names the setting" {
  project file content
  fails 1 'build.sh: no Dockerfile in src/. (set "dockerfile" in config.json)' "$scripts/build.sh" "$build"
  mkdir "$build/src/Dockerfile"
  fails 1 'no Dockerfile in src/.' "$scripts/build.sh" "$build"
  settings='{"context": "web", "dockerfile": "docker/My.Dockerfile"}' again_with
  fails 1 'no My.Dockerfile in src/web' "$scripts/build.sh" "$build"
  mkdir "$build/src/docker" && echo "$plain" >"$build/src/docker/My.Dockerfile"
  fails 1 'the repository has no folder web (see "context" in config.json)' "$scripts/build.sh" "$build"
  [[ ! -e $build/image && $(<"$build/.message") == *'has no folder web'* ]]
}

@test "symlinks out of the checkout are not followed, those inside are" {
  settings='{"context": "web"}'
  project web/file inner docker/Real "$plain"$'\nLABEL from=linked'
  echo "$plain" >"$work/outside"
  for place in "$work/outside" ../../../../../../outside "$build/build.json" /nowhere; do
    ln -sfn "$place" "$build/src/web/Dockerfile"
    fails 1 'web/Dockerfile leads out of the checkout' "$scripts/build.sh" "$build"
  done
  ln -sfn ../docker/Real "$build/src/web/Dockerfile"
  ln -s "$work/outside" "$build/src/web/.dockerignore"
  fails 1 '.dockerignore leads out of the checkout' "$scripts/build.sh" "$build"
  rm "$build/src/web/.dockerignore"
  build
  [[ $(content file) == inner && $(inspect .Config.Labels.from) == linked ]]
  build DOCKER_BUILDKIT=0
  [[ $(content file) == inner && $(inspect .Config.Labels.from) == linked ]]
  mv "$build/src/web" "$work/web"
  for place in "$work/web" .. ../../ /; do
    ln -sfn "$place" "$build/src/web"
    fails 1 'web leads out of the checkout' "$scripts/build.sh" "$build"
  done
  [[ ! -e $build/image ]]
}

@test "a symlink among the files is a symlink in the image" {
  project Dockerfile "$plain"
  ln -s "$work/config" "$build/src/link"
  echo secret >"$work/config"
  for buildkit in 1 0; do
    build DOCKER_BUILDKIT=$buildkit
    "$DOCKER" save "$image" >saved.tar
    run ! grep -a secret saved.tar
    id=$("$DOCKER" create "$image" none)
    "$DOCKER" cp "$id:/link" - | tar -tv | grep -F -- "link -> $work/config"
    "$DOCKER" rm "$id" >removed
  done
}

@test "what does not build is exit 1, with docker's reason, and leaves nothing from before" {
  project Dockerfile "$plain"
  build
  echo "$image" >>images
  printf '%s\n' "FROM $BASE_IMAGE" 'RUN echo "to stdout $((1 + 1))"; echo "to stderr $((1 + 1))" >&2; exit 75' >"$build/src/Dockerfile"
  fails 1 'Dockerfile does not build (docker'"'"'s reason is above)' "$scripts/build.sh" "$build"
  [[ $output == *'to stdout 2'* && $output == *'to stderr 2'* && ! -e $build/image && ! -e $build/.iid ]]
  for wrong in 'FRM scratch' '' $'FROM scratch\nCOPY missing /' $'FROM $NOTHING\nCOPY . /'; do
    echo "$wrong" >"$build/src/Dockerfile"
    fails 1 'Dockerfile does not build' "$scripts/build.sh" "$build"
  done
  rm "$build/src/Dockerfile"
  echo "$image" >"$build/image"
  fails 1 'no Dockerfile' "$scripts/build.sh" "$build"
  [[ ! -e $build/image ]]
}

@test "an engine that is down is exit 75, and leaves nothing" {
  project Dockerfile "$plain"
  echo sha256:old >"$build/image"
  for buildkit in 1 0; do
    DOCKER_BUILDKIT=$buildkit DOCKER_HOST=unix://$work/none.sock fails 75 'the Docker engine does not answer (is it running?' "$scripts/build.sh" "$build"
  done
  [[ ! -e $build/image ]]
}

@test "a base image that cannot be reached is exit 75, one that is not there exit 1" {
  for buildkit in 1 0; do
    rm -rf app
    project Dockerfile $'FROM 127.0.0.1:1/no/image\nCOPY . /'
    DOCKER_BUILDKIT=$buildkit fails 75 'a base image could not be fetched' "$scripts/build.sh" "$build"
    echo "FROM $REGISTRY/no/such-image" >"$build/src/Dockerfile"
    DOCKER_BUILDKIT=$buildkit fails 1 'does not build' "$scripts/build.sh" "$build"
  done
}

@test "a full disk is exit 75" {
  project Dockerfile $"FROM $BASE_IMAGE"$'\nRUN dd if=/dev/zero of=/dev/full bs=1 count=1 || true'$'\nRUN cp /bin/busybox /dev/full'
  fails 75 'the disk is full (docker system df shows by what)' "$scripts/build.sh" "$build"
}

@test "BuildKit is used where there is one, its output line by line" {
  DOCKER_BUILDKIT=1 "$DOCKER" build --help >help 2>&1 || skip_without_buildkit
  project Dockerfile "FROM $BASE_IMAGE"$'\nRUN --mount=type=tmpfs,target=/x echo "$((40 + 2)) in a mount"'" # $repository"
  build
  [[ $output == *'#1 '*'42 in a mount'* && $output != *$'\e'* && $output != *$'\r'* ]]
  build DOCKER_BUILDKIT=1
}
skip_without_buildkit() { echo "no client with BuildKit on this machine" && false; }

@test "the classic builder serves as well, where asked for or where there is no other" {
  project Dockerfile "$stages"
  settings='{"target": "second"}' again_with
  build DOCKER_BUILDKIT=0
  [[ $output == *'Step 1/'* && $(inspect .Config.Labels.stage) == second ]]
  no_buildkit
  build
  [[ $output == *'Step 1/'* && $output != *'is missing or broken'* ]]
  build DOCKER_BUILDKIT=1
}

@test "every docker client that this machine has serves" {
  project Dockerfile "$plain"
  mapfile -t clients < <(type -ap docker)
  [[ ${#clients[@]} -gt 0 ]]
  for client in "${clients[@]}"; do build DOCKER="$client"; done
}

# buildx IIDFILE METADATA: as it is with an engine that keeps images in containerd: it writes these, and builds.
buildx() {
  mkdir -p bin
  cat >bin/docker <<END
#!/bin/bash
if [[ \$1 == build && \$2 == --help ]]; then echo "--iidfile --metadata-file --progress" && exit; fi
if [[ \$1 == build ]]; then
  options=("\$@")
  for i in "\${!options[@]}"; do
    if [[ \${options[i]} == --metadata-file ]]; then metadata=\${options[i + 1]} && unset "options[i]" "options[i + 1]"; fi
    if [[ \${options[i]-} == --iidfile ]]; then iidfile=\${options[i + 1]}; fi
  done
  "$(command -v "$DOCKER")" "\${options[@]}" || exit
  id=\$(<"\$iidfile")
  printf %s "$1" >"\$iidfile"
  printf '{"containerimage.digest": "%s"}' $2 >"\$metadata"
  exit
fi
exec "$(command -v "$DOCKER")" "\$@"
END
  chmod +x bin/docker
}

@test "an engine that keeps images in containerd knows them by another digest than buildx writes" {
  project Dockerfile "$plain"
  none=sha256:$(printf '%064d' 0)
  buildx "$none" '"$id"'
  build DOCKER=bin/docker
  [[ $image != "$none" && ! -e $build/.metadata ]]
  buildx "$none" "$none"
  DOCKER=bin/docker fails 75 'does not know the image it has just built' "$scripts/build.sh" "$build"
  [[ ! -e $build/image ]]
}

@test "a client that knows no --progress is not asked for it, as podman" {
  project Dockerfile "$plain"
  mkdir -p bin
  printf '#!/bin/bash\nif [[ $1 == build && $2 == --help ]]; then echo --iidfile && exit; fi\n[[ "$*" != *--progress* ]] && exec "%s" "$@"\n' "$(command -v "$DOCKER")" >bin/docker
  chmod +x bin/docker
  build DOCKER=bin/docker
}

@test "the classic builder leaves no container behind, whether it fails or not" {
  project Dockerfile "FROM $BASE_IMAGE"$'\n'"RUN : $repository && cat note"$'\n'"RUN : $repository && exit 3"
  DOCKER_BUILDKIT=0 fails 1 'does not build' "$scripts/build.sh" "$build"
  [[ $output == *"$repository"* && $("$DOCKER" ps -a --no-trunc --format '{{.Command}}') != *"$repository"* ]]
  sed -i '/exit 3/d; s/cat note/true/' "$build/src/Dockerfile"
  build DOCKER_BUILDKIT=0
  [[ $("$DOCKER" ps -a --no-trunc --format '{{.Command}}') != *"$repository"* ]]
}

@test "files that .dockerignore names stay out, and the rest has any name" {
  project Dockerfile "$plain" .dockerignore $'.git\nsecret*' secret.txt x 'a b' 1 '日本🎉' 2 $'new\nline' 3
  for buildkit in 1 0; do
    build DOCKER_BUILDKIT=$buildkit
    id=$("$DOCKER" create "$image" none)
    "$DOCKER" export "$id" | tar -t --quoting-style=literal >list
    "$DOCKER" rm "$id" >removed
    for name in '日本🎉' 'a b' line; do grep -xF "$name" list; done
    run ! grep -E '^(secret|\.git/)' list
  done
}

@test "two builds of one repository at a time each get their own files" {
  project Dockerfile "$plain" file 0
  local -a all=("$build")
  for n in 1 2 3; do
    commit app file "$n"
    again
    all+=("$build")
  done
  for build in "${all[@]}"; do "$scripts/build.sh" "$build" >"$build/out" 2>&1 & done
  wait
  for n in 0 1 2 3; do
    image=$(<"${all[n]}/image")
    [[ $(content file) == "$n" ]]
  done
}

@test "paths with spaces, quotes and dollars are paths" {
  work="$work/it's a, \"\$HOME\" \`x\`: *"
  mkdir "$work"
  cd "$work"
  project Dockerfile "$plain" file content
  for buildkit in 1 0; do
    build DOCKER_BUILDKIT=$buildkit
    [[ $(content file) == content ]]
  done
}

@test "a builds folder that cannot be written is exit 75" {
  project Dockerfile "$plain"
  : >"$work/builds/.cache/context"
  fails 75 "build.sh: cannot write $work/builds/.cache/context" "$scripts/build.sh" "$build"
}
