# shellcheck shell=bash
# registry.sh asks a registry, and sets tags in it, by skopeo: nothing is pulled to be asked, no
# tag is set on the engine. tag-push.sh sources it, and sets $name, REGISTRY/REPOSITORY. skopeo
# finds the credentials where `docker login` put them.
# shellcheck disable=SC2034 # for tag-push.sh

# prepare_skopeo: docker speaks plain HTTP with a registry on this host, and with those that the
# engine's configuration calls insecure. Sets $tls for that.
prepare_skopeo() {
  local insecure='{{range .RegistryConfig.IndexConfigs}}{{if not .Secure}} {{.Name}} {{end}}{{end}}'

  tls=true
  if [[ ${name%%/*} =~ ^(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?$ ]]; then
    tls=false
  elif [[ $(docker info --format "$insecure" 2>/dev/null) == *" ${name%%/*} "* ]]; then
    tls=false
  fi

  # skopeo 1.9 does not know the variable that names docker's configuration elsewhere.
  if [[ ${DOCKER_CONFIG-} && ! ${REGISTRY_AUTH_FILE-} && -f $DOCKER_CONFIG/config.json ]]; then
    export REGISTRY_AUTH_FILE=$DOCKER_CONFIG/config.json
  fi
}

# ask_all TAG...: asks for all of them at once: with a registry at the end of a line of 0.1 s six
# tags took 2.0 s so, and 3.8 s one by one. Leaves .asked.TAG, the manifest, empty where there is
# none, and .refused.TAG, why.
ask_all() {
  local tag
  local -a asked=()

  for tag; do
    (inspect "$tag" --raw >"$build/.asked.$tag" 2>"$build/.refused.$tag" \
      || : >"$build/.asked.$tag") &
    asked+=("$!")
  done

  wait "${asked[@]}" || true
}

# ask TAG: what the registry had under it when it was asked first: sets $digest, and $theirs, the ID
# of the image. False if it has nothing; being unable to tell is neither.
ask() {
  local said manifest=$build/.asked.$1
  local config='"config":[^}]*"digest":[[:space:]]*"(sha256:[0-9a-f]{64})"'

  theirs='' digest=''
  if [[ ! -e $manifest ]]; then
    ask_all "$1"
  fi

  if [[ ! -s $manifest ]]; then
    said=$(last_words_of_skopeo "$(<"$build/.refused.$1")")
    if [[ $said =~ (manifest|name)\ unknown(:[^:]*)?$ ]] || is_not_listed "$1" "$said"; then
      return 1
    fi

    if [[ $hidden ]] && reveal; then
      ask_again "$1"
      return
    fi

    fail_to_ask "$1" "$said"
  fi

  digest=$(sha256sum <"$manifest")
  digest=sha256:${digest%% *}
  if [[ $(<"$manifest") =~ $config ]]; then
    theirs=${BASH_REMATCH[1]}
  fi
}

# ask_again TAG: after a push, when an answer of before is no longer true.
ask_again() {
  ask_all "$1"
  ask "$1"
}

# reveal: makes a repository that cannot be read, nor its list, show what it has. tag-push.sh can.
reveal() { false; }

# is_immutable REASON: is the tag there, and the registry moves none? ECR, Harbor, Google's and
# others each answer by another status and code: only their words are alike.
is_immutable() { grep -qiE -- 'immutab|cannot be overwrit' <<<"$1"; }

# is_refusal REASON: is it one that stays? A registry refuses by 401, 403 or 405. A token that has
# expired is none: a credential helper gives another the next time.
is_refusal() {
  if grep -qiE -- '(token|credential|authorization).*expired|expired.*token' <<<"$1"; then
    return 1
  fi

  local refused='denied|unauthorized|authentication required|forbidden|insufficient_scope'
  refused+='|already exists|not allowed|disallowed|(status|code)[^0-9]*(401|403|405)'
  grep -qiE -- "$refused" <<<"$1"
}

# is_not_listed TAG REASON: some registries answer 401 or 403 for what is not there. Their list of
# tags tells, unless they hide that too, as of a repository that does not exist: sets $hidden.
is_not_listed() {
  local list
  hidden=''
  if ! is_refusal "$2"; then
    return 1
  fi

  if list=$(skopeo list-tags --tls-verify="$tls" -- "docker://$name" 2>&1); then
    [[ $list != *"\"$1\""* ]]
  elif [[ $list != *"name unknown"* && $list != *"code from registry 404"* ]]; then
    if is_refusal "$list"; then
      hidden=hidden
    fi

    return 1
  fi
}

# inspect TAG OPTION: asks for what is under a tag.
inspect() { skopeo inspect "$2" --tls-verify="$tls" -- "docker://$name:$1"; }

# ask_label TAG LABEL: sets $label to one of the OCI labels of the image under that tag; to nothing
# if it has none.
ask_label() {
  local config
  if ! config=$(inspect "$1" --config 2>&1); then
    fail_to_ask "$1" "$(last_words_of_skopeo "$config")"
  fi

  label=$(jq -r --arg key "org.opencontainers.image.$2" \
    '.config.Labels[$key] // "" | strings' <<<"$config")
}

# fail_to_ask TAG REASON
fail_to_ask() {
  local problem="cannot ask the registry for $name:$1: $2"
  local create='If the repository is not there yet, create it, or have "sha-{sha}" in "publish"'
  if is_refusal "$2"; then
    fail_for_good "$problem (docker login? $create)"
  fi

  fail 75 "$problem (is it up? is \"registry\" in config.json right? credentials: docker login)"
}

# set_tag TAG DIGEST: the registry's image of that digest gets the tag too.
set_tag() { copy_tag "$@" || fail_to_set "$1"; }

# copy_tag TAG DIGEST: does it; false where the registry refuses, and $refusal says why.
copy_tag() {
  if ! refusal=$(skopeo --insecure-policy copy --all --preserve-digests \
    --src-tls-verify="$tls" --dest-tls-verify="$tls" --digestfile "$build/.set.$1" \
    -- "docker://$name@$2" "docker://$name:$1" 2>&1); then
    refusal=$(last_words_of_skopeo "$refusal")
    return 1
  fi

  if [[ $(<"$build/.set.$1") != "$2" ]]; then
    refusal="it has made $(<"$build/.set.$1") of $2 (is it a registry for images?)"
    return 1
  fi

  echo "${0##*/}: $name:$1 is $2"
}

# fail_to_set TAG [ADVICE]: for $refusal.
fail_to_set() {
  if is_immutable "$refusal" || is_refusal "$refusal"; then
    fail_for_good "the registry refuses $name:$1: $refusal (may this user move it?${2-})"
  fi

  fail 75 "cannot set $name:$1: $refusal (is the registry up? credentials: docker login)"
}

# last_words_of_skopeo TEXT: prints the reason in its last line: time="…" level=fatal msg="…
# \"docker://NAME\": REASON"
last_words_of_skopeo() {
  local line=${1##*$'\n'}
  line=${line#*msg=\"}
  line=${line#Error *\\\": }
  printf %s "${line%\"}"
}
