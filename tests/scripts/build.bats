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
  git -C app show -s --no-show-signature --no-mailmap \
    --format=$'org.opencontainers.image.created=%cI\norg.example.revision=%H' >"$build/labels"
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
  settings=$(jq -nc '{build_args: {A: "a b=c", B: "it'"'"'s \"$HOME\" $(touch ran) `x` \\n", C: "two\nlines\n", D: "", E: "--label=x=y", _f: "日本"}}')
  project Dockerfile $'FROM scratch\nARG A\nARG B\nARG C\nARG D=default\nARG E\nARG _f\nLABEL a=$A b=$B c=$C d=$D e=$E f=$_f\nCOPY . /'
  build
  [[ $(inspect .Config.Labels | jq -cS 'del(.["org.example.revision", "org.opencontainers.image.created"])') == "$(jq -cS '.build_args | {a: .A, b: .B, c: .C, d: .D, e: .E, f: ._f}' <<<"$settings")" ]]
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
  fails 1 'build.sh: no Dockerfile in the repository (add one, at the root or in "context")' "$scripts/build.sh" "$build"
  mkdir "$build/src/Dockerfile"
  fails 1 'Dockerfile is no regular file' "$scripts/build.sh" "$build"
  settings='{"context": "web", "dockerfile": "docker/My.Dockerfile"}' again_with
  mkdir "$build/src/web"
  fails 1 'no docker/My.Dockerfile in the repository' "$scripts/build.sh" "$build"
  rmdir "$build/src/web"
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
  fails 1 'Dockerfile does not build: ' "$scripts/build.sh" "$build"
  [[ ${output##*$'\n'} == *'exit code: 75'* || ${output##*$'\n'} == *'non-zero code: 75'* ]] # docker's own last words
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

@test "what a RUN prints is the repository's, whatever it sounds like" {
  for buildkit in 1 0; do
    for words in 'write /x: no space left on device' 'TLS handshake timeout' 'toomanyrequests: slow down' \
      'ENOSPC: System limit for number of file watchers reached' 'rpc error: code = Unavailable' 'error reading from server: EOF'; do
      rm -rf app
      project Dockerfile "FROM $BASE_IMAGE"$'\nRUN echo '"'$words' >&2; echo '$words'; false"
      DOCKER_BUILDKIT=$buildkit fails 1 'Dockerfile does not build: ' "$scripts/build.sh" "$build"
    done
  done
}

# client LAST_LINE [CODE]: a docker client whose builds end so, after a RUN has printed all kinds of things.
client() {
  mkdir -p bin
  printf %s "$1" >"$work/last"
  cat >bin/docker <<END
#!/bin/sh
[ "\$1" = build ] && [ "\$2" != --help ] || exec $(command -v "$DOCKER_REAL") "\$@"
echo '#7 0.1 no space left on device, executor failed running, toomanyrequests'
cat "$work/last" >&2
exit ${2-1}
END
  chmod +x bin/docker
  export DOCKER=$work/bin/docker
}

@test "a base image that cannot be had just now is ours, told in docker's own last line" {
  project Dockerfile "$plain"
  DOCKER_REAL=$DOCKER
  while IFS= read -r line; do
    client "$line"
    fails 75 "a base image could not be fetched: " "$scripts/build.sh" "$build"
    [[ ${output##*$'\n'} == *"${line:0:60}"* && ! -e $build/image ]]
  done <<'END'
ERROR: failed to solve: node:20: failed to resolve source metadata for docker.io/library/node:20: unexpected status from HEAD request to https://registry-1.docker.io/v2/library/node/manifests/20: 429 Too Many Requests
error: failed to solve: node:20: failed to copy: httpReadSeeker: failed open: unexpected status code https://r.example/v2/node/blobs/sha256:1: 500 Internal Server Error
failed to solve with frontend dockerfile.v0: failed to create LLB definition: failed to do request: Head "https://r.example/v2/node/manifests/20": dial tcp: lookup r.example: no such host
ERROR: failed to solve: failed to compute cache key: failed to copy: read tcp 10.0.0.1:1->10.0.0.2:443: read: connection reset by peer
failed to fetch oauth token: status code URL: 502 Bad Gateway
toomanyrequests: You have reached your pull rate limit.
Error response from daemon: Get "https://registry-1.docker.io/v2/": net/http: TLS handshake timeout
ERROR: failed to solve: failed to copy: httpReadSeeker: failed open: unexpected EOF
END
}

@test "an engine that goes away while it builds, or ends without an image, is ours; and a client that is killed" {
  project Dockerfile "$plain"
  DOCKER_REAL=$DOCKER
  for line in 'server did not provide an image ID' 'error reading from server: EOF' 'rpc error: code = Unavailable desc = transport is closing' \
    'Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?'; do
    client "$line"
    fails 75 "the Docker engine went away: $line" "$scripts/build.sh" "$build"
  done
  client '' 0
  fails 75 'docker build left no image ID' "$scripts/build.sh" "$build"
  client 'writing' 137
  fails 75 'docker build was ended by KILL (out of memory?' "$scripts/build.sh" "$build"
  client 'failed to solve: write /var/lib/docker/x: no space left on device'
  fails 75 "the engine's disk is full: " "$scripts/build.sh" "$build"
}

@test "other last lines are the repository's, and stand in the message whole" {
  project Dockerfile $'# syntax=docker/dockerfile:1\nFROM scratch\nCOPY . /'
  DOCKER_REAL=$DOCKER
  for line in 'ERROR: failed to solve: executor failed running [/bin/sh -c curl toomanyrequests]: exit code: 1' \
    "The command '/bin/sh -c echo connection reset by peer; false' returned a non-zero code: 1" \
    'ERROR: failed to solve: process "/bin/sh -c echo 503" did not complete successfully: exit code: 1' \
    'failed to solve: dockerfile parse error line 3: unknown instruction: FRM' \
    'failed to solve: node:99: docker.io/library/node:99: not found'; do
    client "$line"
    fails 1 "Dockerfile does not build: ${line:0:30}" "$scripts/build.sh" "$build"
  done
  client 'ERROR: failed to solve: failed to resolve source metadata for docker.io/docker/dockerfile:1: unexpected status from HEAD request to https://r/v2/: 503'
  fails 75 'docker/dockerfile:1, which "# syntax=" names, could not be fetched' "$scripts/build.sh" "$build"
  client ''
  fails 1 'docker build said nothing' "$scripts/build.sh" "$build"
}

@test "without a setting the context's own Dockerfile comes first, then the root's, in either case of its letter" {
  label='LABEL here'
  settings='{"context": "api", "dockerfile": null}'
  project Dockerfile $'FROM scratch\nCOPY . /\n'"$label=root" api/Dockerfile $'FROM scratch\nCOPY . /\n'"$label=api" api/package.json '{}'
  build
  [[ $(inspect .Config.Labels.here) == api ]]
  mv "$build/src/api/Dockerfile" "$build/src/api/dockerfile"
  build
  [[ $(inspect .Config.Labels.here) == api ]]
  rm "$build/src/api/dockerfile"
  build
  [[ $(inspect .Config.Labels.here) == root ]]
  mv "$build/src/Dockerfile" "$build/src/dockerfile"
  build
  [[ $(inspect .Config.Labels.here) == root ]]
  rm "$build/src/dockerfile"
  fails 1 'no Dockerfile in the repository (add one' "$scripts/build.sh" "$build"
}

@test "a Dockerfile elsewhere is named with the setting that finds it, up to three" {
  settings='{"dockerfile": null}'
  project api/Dockerfile "$plain" api/package.json '{}' docker/Dockerfile "$plain" node_modules/x/Dockerfile "$plain"
  fails 1 'there is api/Dockerfile: set "context": "api", or there is docker/Dockerfile: set "dockerfile": "docker/Dockerfile")' "$scripts/build.sh" "$build"
  settings='{"dockerfile": "deploy/Dockerfile"}' again_with
  fails 1 'no deploy/Dockerfile in the repository (there is api/Dockerfile' "$scripts/build.sh" "$build"
  for n in a b c d; do mkdir -p "$build/src/$n" && echo "$plain" >"$build/src/$n/Dockerfile"; done
  fails 1 'no deploy/Dockerfile' "$scripts/build.sh" "$build"
  [[ $(grep -o 'there is' <<<"${output##*$'\n'}" | wc -l) -eq 3 ]]
}

@test "Dockerfile.dockerignore counts beside a Dockerfile that is a link, and beside what it leads to it does not" {
  DOCKER_BUILDKIT=1 "$DOCKER" build --help >help 2>&1 || skip_without_buildkit
  project docker/Real $'FROM scratch\nCOPY . /' Dockerfile.dockerignore secret.txt docker/Real.dockerignore seen.txt secret.txt no seen.txt yes
  ln -s docker/Real "$build/src/Dockerfile"
  build
  [[ $(content seen.txt) == yes ]]
  [[ -z $(content secret.txt 2>/dev/null) ]]
}

@test "a pipe or a device in the place of a file that docker reads ends it at once" {
  for name in .dockerignore Dockerfile Dockerfile.dockerignore; do
    rm -rf app
    project Dockerfile "$plain"
    rm -f "$build/src/$name"
    mkfifo "$build/src/$name"
    fails 1 "$name is no regular file" timeout 20 "$scripts/build.sh" "$build"
  done
}

@test "how the operator has set up git changes no image" {
  project Dockerfile "$plain" .mailmap 'A <a@example.com> Tester <tester@example.com>'
  build
  export GIT_CONFIG_COUNT=3 GIT_CONFIG_KEY_0=log.showSignature GIT_CONFIG_VALUE_0=true \
    GIT_CONFIG_KEY_1=log.mailmap GIT_CONFIG_VALUE_1=true GIT_CONFIG_KEY_2=core.fsmonitor GIT_CONFIG_VALUE_2=/nowhere
  rm "$build/src/.mailmap"
  mkfifo "$build/src/.mailmap"
  DOCKER_REAL=$DOCKER
  printf '#!/bin/sh\n[ "$2" = --help ] || echo "$SOURCE_DATE_EPOCH" >"%s/epoch"\nexec "%s" "$@"\n' "$work" "$DOCKER_REAL" >client && chmod +x client
  DOCKER=$work/client timeout 60 "$scripts/build.sh" "$build" || true
  [[ $(<epoch) == "$(git -C app show -s --format=%ct)" ]]
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
  : >"$work/builds/.cache/contexts"
  fails 75 "build.sh: cannot write $work/builds/.cache/contexts" "$scripts/build.sh" "$build"
}

@test "entries whose names end as a lock or a half-made link would, share no context" {
  project Dockerfile "$plain" file one
  first=$build
  for name in o/n.lock o/n.tmp o/n; do
    mkdir -p "$work/builds/$name"
    cp -a "$first" "$work/builds/$name/"
    build=$work/builds/$name/${first##*/}
    echo "$name" >"$build/src/file"
    touch -d 'now + 1 hour' "$build/src/file"
    build
    [[ $(content file) == "$name" ]]
  done
  [[ $(cd "$work/builds/.cache/contexts" && find . -name context | sort | xargs) == "./o/n.lock/context ./o/n.tmp/context ./o/n/context" ]]
}

@test "buildx runs no git in the context, where an install may have left a .git of its own" {
  project Dockerfile "$plain"
  mkdir -p bin
  printf '#!/bin/bash\n[[ $1 != build || $BUILDX_GIT_INFO == false ]] && exec "%s" "$@"\n' "$(command -v "$DOCKER")" >bin/docker
  chmod +x bin/docker
  build DOCKER=bin/docker
}

@test "cache: registry: a host that has built nothing yet starts from the branch's image" {
  settings='{"cache": "registry", "registry": "'"$REGISTRY"'", "image": "'"$repository"'"}'
  project Dockerfile "$(printf '%s\n' "FROM $BASE_IMAGE" 'RUN cat /proc/sys/kernel/random/uuid >/made' 'COPY app /')" app 1
  # publish: as tag-push.sh does it.
  publish() {
    "$DOCKER" tag "$image" "$REGISTRY/$repository:main"
    "$DOCKER" push -q "$REGISTRY/$repository:main"
    "$DOCKER" rmi -f "$REGISTRY/$repository:main" "$image" >removed
    "$DOCKER" builder prune -af >removed
  }
  echo 1.0.0-main.1.gabc >"$build/version"
  printf '%s\n' 1.0.0-main.1.gabc main >"$build/tags"
  build # nothing is there yet
  made=$(content made)
  publish
  commit app app 2
  again
  echo 1.0.0-topic.1.gdef >"$build/version"
  printf '%s\n' 1.0.0-topic.1.gdef topic >"$build/tags" # another branch: the default one's counts
  build
  [[ $(content made) == "$made" && $(content app) == 2 ]]
  publish
  commit app app 3
  again
  echo 1.0.0-main.2.gabc >"$build/version"
  printf '%s\n' 1.0.0-main.2.gabc main >"$build/tags"
  build # from an image that was made of imported layers itself
  [[ $(content made) == "$made" && $(content app) == 3 ]]
  publish
  change '.settings.cache = "none"'
  build
  [[ $(content made) != "$made" ]]
}
