# shellcheck shell=bash
# engine.sh asks the Docker engine, and runs the container of a build. common.sh sources it.

# docker ARGS...: the client that DOCKER names. It meets no token, whichever script asks.
docker() { env -u GITHUB_TOKEN -u GITHUB_TOKEN_FILE "${DOCKER:-docker}" "$@"; }

# quick_docker ARGS...: the client, for ten seconds at most, as an engine may also hang.
quick_docker() {
  timeout --foreground 10 env -u GITHUB_TOKEN -u GITHUB_TOKEN_FILE "${DOCKER:-docker}" "$@"
}

# engine_answers: tells the engine's troubles from the repository's.
engine_answers() { quick_docker version >/dev/null 2>&1; }

# need_engine: asked when something went wrong that it might be to blame for.
need_engine() {
  engine_answers \
    || fail 75 "the Docker engine does not answer (is it running? see: docker version)"
}

# engine_folder: prints where the engine keeps its data, if that is on this host; else the builds
# folder. prune.sh keeps the answer, as to ask takes 25 ms.
engine_folder() {
  local folder=''

  if [[ -f $cache/engine ]]; then
    folder=$(<"$cache/engine")
  else
    folder=$(quick_docker info --format '{{.DockerRootDir}}' 2>/dev/null) || true
  fi

  if [[ ! -d $folder || ${DOCKER_HOST:-unix:} != unix:* ]]; then
    folder=${cache%/*}
  fi

  echo "$folder"
}

# bind SOURCE TARGET: prints a value of --mount, which is a line of CSV.
bind() { printf 'type=bind,"source=%s",target=%s' "${1//\"/\"\"}" "$2"; }

# run_container OPTION... -- IMAGE COMMAND...: runs the command in the image, under the build's name
# for its container, and with what $ci tells of the build. The command's first word takes the entry
# point's place, which might be a server that never ends.
run_container() {
  local -a options=()

  while [[ $1 != -- ]]; do
    options+=("$1")
    shift
  done

  : >"$build/.container" # from now on one may be left
  without_locks docker run --init --name "$container" \
    --label "docker-build-server.build=$build" "${options[@]}" "${ci[@]/#/--env=}" \
    --entrypoint "$3" -- "$2" "${@:4}"
}

# remove_container: removes the build's container, with its volumes, should there be one; with the
# services beside it, and their network. (What nobody removes, say after kill -9, prune.sh does.)
remove_container() {
  local service
  local -a names=("$container")

  # In a trap a return without a number takes the code of the command that the signal ended.
  if [[ ! -e $build/.container ]]; then
    return 0
  fi

  for service in "$build"/settings/test/services/*/; do
    if [[ -d $service ]]; then
      service=${service%/}
      names+=("$container.${service##*/}")
    fi
  done

  if ! quick_docker rm -fv -- "${names[@]}" >/dev/null 2>&1; then
    return 0
  fi

  if [[ ${#names[@]} -gt 1 ]] && ! quick_docker network rm "$container" >/dev/null 2>&1 \
    && quick_docker network inspect "$container" >/dev/null 2>&1; then
    return 0
  fi

  rm -f -- "$build/.container"
}
