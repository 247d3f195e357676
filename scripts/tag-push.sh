#!/usr/bin/env bash
# tag-push.sh BUILD puts the tested image into the registry, under each of the build's tags
#
# Reads     build.json, version, tags, image, tested
# Writes    pushed   NAME:TAG@sha256:DIGEST, one a line, as the registry confirmed them
# Settings  registry, image: together the NAME. Credentials are those of `docker login`.
# Only the image that was tested is pushed: docker pushes its first tag, the others are set by
# digest. A full version is never overwritten: with the same image behind it the rest is completed;
# from the same commit as another image, that one stays and gets the rest; from another commit, the
# push fails. An alias (1.2, 1, latest) is not moved below a version it already points to, the tag
# of a branch goes back only with it, and a tag with the commit's digits in it is never moved. What
# is withdrawn (builds/OWNER/NAME/withdrawn) moves no alias, and stands in nobody's way. A tag that
# the registry calls immutable stays where it is, and is said to: the rest is published.
# Cut off half-way, it is completed by running it again.
#
# Exit codes: 0 pushed, 1 refused, 2 called wrongly, 69 locked, 75 the registry or the engine
set -euo pipefail
shopt -s inherit_errexit
self=$(realpath -- "${BASH_SOURCE[0]}")
. "${self%/*}/lib/common.sh"
. "${self%/*}/lib/registry.sh"

# ask_version: looks for the full version, which may be there already, from this commit or another.
ask_version() {
  # Without a {version} in `publish` nothing is pushed that has to stay as it is.
  if [[ ${tags[0]-} != *"${version//+/-}"* ]] || ! ask "${tags[0]}"; then
    return
  fi

  if ! same; then
    ask_label "${tags[0]}" revision
    if [[ $label != "$commit" ]]; then
      fail 1 "$name:${tags[0]} is there already, from another commit," \
        "and a version is never overwritten (tag a new one)"
    fi

    # A build cut off while it pushed, say, and built again: other tags must not point to another
    # image.
    echo "tag-push.sh: $name:${tags[0]} is there already, from the same commit;" \
      "that image is left, and gets the other tags"
    image=$theirs
    confirmed=()
  fi

  confirm "${tags[0]}" "$digest"
}

# same: is the image that was asked for the one to push? (podman's IDs are bare.)
same() {
  [[ ${theirs#sha256:} == "${image#sha256:}" ]]
}

# confirm TAG DIGEST: the registry has it so.
confirm() {
  confirmed[$1]=$2
  known=$2
}

# is_of_branch TAG: is it one that moves with a branch?
is_of_branch() {
  [[ $ref == refs/heads/* && ! $1 =~ $is_alias && $1 != "${tags[0]}" && $1 != *"${commit:0:7}"* ]]
}

# ask_early: asks for all tags that are asked for in any case; for that of a branch rarely.
ask_early() {
  local tag
  local -a asked=()

  for tag in "${tags[@]}"; do
    if ! is_of_branch "$tag"; then
      asked+=("$tag")
    fi
  done

  ask_all "${asked[@]}"
}

# sort_tags: what is still to be set: $plain, which follow the build, and $aliases, which only go
# up.
sort_tags() {
  local tag

  plain=() aliases=()
  for tag in "${tags[@]}"; do
    if [[ ${confirmed[$tag]-} ]]; then
      continue
    fi

    if [[ $tag =~ $is_alias ]]; then
      if may_move "$tag"; then
        aliases+=("$tag")
      fi
    elif is_of_branch "$tag"; then
      if follows_branch "$tag"; then
        plain+=("$tag")
      fi
    elif [[ $tag != *"${commit:0:7}"* ]]; then
      plain+=("$tag")
    elif ! ask "$tag"; then
      plain+=("$tag")
    elif same; then
      confirm "$tag" "$digest"
    else
      # Seven digits may be another commit's too: https://git-scm.com/docs/git-rev-parse, --short
      ask_label "$tag" revision
      echo "tag-push.sh: $name:$tag never moves, and stays at commit ${label:-of nobody we know}"
    fi
  done
}

# follows_branch TAG: does it go on with the branch? A build of an older commit leaves it, unless
# the branch was put back to that. What the mirror does not know cannot be told: then it moves.
follows_branch() {
  local mirror

  mirror=$cache/git/$(repository).git

  if [[ $(in_mirror rev-parse "$ref") == "$commit" ]] || ! ask "$1"; then
    return 0
  fi

  if same; then
    confirm "$1" "$digest"
    return 1
  fi

  ask_label "$1" revision
  if [[ ! $label || $label == "$commit" ]]; then
    return 0
  fi

  if in_mirror merge-base --is-ancestor "$commit" "$label"; then
    echo "tag-push.sh: $name:$1 stays at ${label:0:7}, which came after ${commit:0:7}" \
      "(push the branch back to move it)"
    return 1
  fi
}

# is_withdrawn VERSION: has a person taken it back?
is_withdrawn() {
  cut -d ' ' -f 1 -- "${build%/*}/withdrawn" 2>/dev/null | grep -qxF -- "$1"
}

# may_move ALIAS: does it have to be set, and does it not go down?
may_move() {
  local there=''

  if ask "$1"; then
    there=there
    if same; then
      confirm "$1" "$digest"
      return 1
    fi
  fi

  if is_withdrawn "$version"; then
    echo "tag-push.sh: $version is withdrawn, so $name:$1 stays" \
      "(docker-build-server withdraw $entry $version --undo)"
    return 1
  fi

  if [[ ! $there ]]; then
    return 0
  fi

  ask_label "$1" version
  if is_higher "$label" && ! is_withdrawn "$label"; then
    echo "tag-push.sh: $name:$1 stays at $label, which is higher than $version"
    return 1
  fi
}

# is_higher VERSION: is it a release, and above ours?
is_higher() {
  if [[ ! $1 =~ ^[0-9]+\.[0-9]+\.[0-9]+$ || $1 == "$version" ]]; then
    return 1
  fi

  [[ $(printf '%s\n' "$1" "$version" | sort -V | tail -n 1) == "$1" ]]
}

# need_lock: another machine may have taken the build over, and pushes it.
need_lock() {
  if ! holds_lock; then
    fail 69 "another has taken this build over, and pushes it: this one does not"
  fi
}

# push_first TAG: the layers go with it, by docker; and the digest the registry answers with is
# noted.
push_first() {
  local reason

  need_lock
  if ! docker tag "$image" "$name:$1"; then
    need_engine
    fail 75 "cannot tag $image (docker's reason is above; image gone: build.sh again)"
  fi

  if ! watch docker push "$name:$1"; then
    reason=$(last_words)
    if is_immutable "$reason"; then
      keep_immutable "$1"
      return
    fi

    if is_refusal "$reason"; then
      fail_for_good "the registry refuses $name:$1: $reason" \
        "(docker login? may this user push there?)"
    fi

    need_engine
    fail 75 "cannot push $name:$1: $reason (credentials: docker login; image gone: build.sh again)"
  fi

  if [[ $(<"$build/.said") =~ digest:\ (sha256:[0-9a-f]{64}) ]]; then
    confirm "$1" "${BASH_REMATCH[1]}"
  elif ask_again "$1" && same; then # podman prints no digest
    confirm "$1" "$digest"
  else
    fail 75 "the registry does not show $name:$1, which was just pushed (try again)"
  fi
}

# keep_immutable TAG: the registry did not take it, as it is there. The answer to our push was lost,
# or another host was faster, or it stays.
keep_immutable() {
  if [[ $1 == "${tags[0]}" ]]; then
    ask_all "$1"
    ask_version
  fi

  if [[ ${confirmed[$1]-} ]]; then
    return
  elif ask_again "$1" && same; then
    confirm "$1" "$digest"
  else
    immutable+=("$1")
  fi
}

# reveal: some registries show nothing of a repository until something is in it. The tag with the
# commit's digits can be pushed unseen: no other commit's image is under it.
reveal() {
  local tag
  if [[ ${revealed-} ]]; then
    return 1
  fi

  revealed=yes

  for tag in "${tags[@]:1}"; do
    if [[ $tag == *"${commit:0:7}"* ]]; then
      echo "tag-push.sh: the registry shows nothing of $name, so $tag is pushed first"
      push_first "$tag"
      return
    fi
  done

  return 1
}

# set_tags TAG...: the first by docker, the others by digest, one after the other: two at once, and
# registry 2.8 may answer 500, as it reads a file that the other is writing. Where one is refused,
# the others are noted.
set_tags() {
  local tag code=0

  need_lock
  for tag; do
    if [[ ! $known ]]; then
      push_first "$tag"
    elif copy_tag "$tag" "$known"; then
      confirm "$tag" "$known"
    elif is_immutable "$refusal"; then
      immutable+=("$tag")
    else
      (fail_to_set "$tag" ' else leave this one out of "publish"') || code=$?
    fi
  done

  if [[ $code -ne 0 ]]; then
    leave_pushed
    exit "$code"
  fi
}

# leave_pushed: leaves what the registry has confirmed, in the order of the tags.
leave_pushed() {
  local tag pushed=''
  for tag in "${tags[@]}"; do
    if [[ ${confirmed[$tag]-} ]]; then
      pushed+=$name:$tag@${confirmed[$tag]}$'\n'
    fi
  done

  leave pushed "$pushed"
}

open_build "$@"
need version tags image tested
commit=$(fact commit)
ref=$(fact ref)
name=$(<"$build/settings/registry")/$(<"$build/settings/image")
image=$(<"$build/image")
version=$(<"$build/version")
mapfile -t tags <"$build/tags"
read -r tested <"$build/tested"
if [[ $tested != "$image" ]]; then
  fail 1 "the image $image is not the one that was tested, $tested (run unit-test.sh again)"
fi

if [[ ${#tags[@]} -eq 0 ]]; then
  echo "tag-push.sh: nothing is to be published (version.sh says why)"
  leave pushed ''
  exit 0
fi

prepare_skopeo
is_alias='^([0-9]+(\.[0-9]+)?|latest)$'
declare -A confirmed=() # tag -> digest
immutable=()            # tags that the registry does not move
known=''                # the digest of the image, once the registry has it

echo "tag-push.sh: $image as $name, ${tags[*]}"
rm -f -- "$build/pushed" "$build"/.{asked,refused}.*
ask_early
ask_version
sort_tags
set_tags "${plain[@]}"
for tag in "${aliases[@]}"; do
  set_tags "$tag" # none after one that failed: `latest` is the very last
done

leave_pushed
rm -f -- "$build"/.{asked,refused}.*
if [[ ${#immutable[@]} -gt 0 ]]; then
  stay="immutable tags of $name stay where they are: ${immutable[*]}"
  if [[ ${#confirmed[@]} -eq 0 ]]; then
    fail_for_good "nothing could be published: $stay (put \"{version}\" into \"publish\")"
  fi

  echo "tag-push.sh: $stay (leave them out of \"publish\")"
fi
