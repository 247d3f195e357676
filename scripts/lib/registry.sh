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

# ask TAG: what the registry has under it: sets $digest, and $theirs, the ID of the image. False if
# it has nothing; being unable to tell is neither.
ask() {
  local said manifest=$build/.manifest
  local config='"config":[^}]*"digest":[[:space:]]*"(sha256:[0-9a-f]{64})"'

  theirs='' digest=''
  if ! said=$(inspect "$1" --raw 2>&1 >"$manifest"); then
    said=$(last_words_of_skopeo "$said")
    if [[ $said =~ (manifest|name)\ unknown(:[^:]*)?$ ]] || is_not_listed "$1" "$said"; then
      return 1
    fi
    fail_to_ask "$1" "$said"
  fi

  digest=$(sha256sum <"$manifest")
  digest=sha256:${digest%% *}
  if [[ $(<"$manifest") =~ $config ]]; then
    theirs=${BASH_REMATCH[1]}
  fi
}

# is_refusal REASON: is it one that stays? A registry refuses by 401, 403, 405, or as a tag is
# immutable. A token that has expired is none: a credential helper gives another the next time.
is_refusal() {
  if grep -qiE -- '(token|credential|authorization).*expired|expired.*token' <<<"$1"; then
    return 1
  fi
  local refused='denied|unauthorized|authentication required|forbidden|insufficient_scope|immutable'
  refused+='|already exists|not allowed|(status|code)[^0-9]*(401|403|405)'
  grep -qiE -- "$refused" <<<"$1"
}

# is_not_listed TAG REASON: some registries answer 401 or 403 for what is not there. Their list of
# tags tells.
is_not_listed() {
  local list
  if ! is_refusal "$2"; then
    return 1
  fi

  if list=$(skopeo list-tags --tls-verify="$tls" -- "docker://$name" 2>&1); then
    [[ $list != *"\"$1\""* ]]
  else
    [[ $list == *"name unknown"* || $list == *"code from registry 404"* ]]
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
  local advice="is it up? is \"registry\" in config.json right?"
  if [[ $2 =~ denied|unauthorized|authentication|insufficient_scope|401|403 ]]; then
    advice="docker login; some want the repository created first"
  fi

  fail 75 "cannot ask the registry for $name:$1: $2 ($advice)"
}

# set_tag TAG DIGEST: the registry's image of that digest gets the tag too; it answers with the
# digest.
set_tag() {
  local said set

  if ! said=$(skopeo --insecure-policy copy --all --preserve-digests \
    --src-tls-verify="$tls" --dest-tls-verify="$tls" --digestfile "$build/.set.$1" \
    -- "docker://$name@$2" "docker://$name:$1" 2>&1); then
    said=$(last_words_of_skopeo "$said")
    if is_refusal "$said"; then
      fail_for_good "the registry refuses $name:$1: $said" \
        "(if its tags are immutable, leave this one out of \"publish\")"
    fi
    fail 75 "cannot set $name:$1: $said (is the registry up? credentials: docker login)"
  fi

  set=$(<"$build/.set.$1")
  if [[ $set != "$2" ]]; then
    fail 75 "the registry has made $set of $name:$1, not $2 (is it one for images?)"
  fi

  echo "${0##*/}: $name:$1 is $2"
}

# last_words_of_skopeo TEXT: prints the reason in its last line: time="…" level=fatal msg="…
# \"docker://NAME\": REASON"
last_words_of_skopeo() {
  local line=${1##*$'\n'}
  line=${line#*msg=\"}
  line=${line#Error *\\\": }
  printf %s "${line%\"}"
}
