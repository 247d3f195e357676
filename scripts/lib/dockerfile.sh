# shellcheck shell=bash disable=SC2034
# dockerfile.sh finds the Dockerfile of a checkout, for build.sh, and for pipeline.sh, which ends a
# build without one before npm spends a minute on it.

# find_dockerfile: sets $dockerfile to its path relative to src/, or to nothing. One that is set is
# looked for in the checkout, then in the context; else the context's own comes first, then the
# root's.
find_dockerfile() {
  local context wanted place
  local -a places
  context=$(<"$build/settings/context")
  wanted=$(setting dockerfile)
  places=("$wanted" "$context/$wanted")
  if [[ ! $wanted ]]; then
    places=("$context"/{D,d}ockerfile {D,d}ockerfile)
  fi

  dockerfile=''
  for place in "${places[@]}"; do
    if [[ -e $build/src/$place || -L $build/src/$place ]]; then
      dockerfile=${place#./}
      return
    fi
  done
}

# fail_without_dockerfile: names what there is instead, up to three.
fail_without_dockerfile() {
  local wanted place package workspace='' advice=''
  wanted=$(setting dockerfile)
  package=$(text_of src/package.json)
  if [[ -f $build/src/pnpm-workspace.yaml || $package == *'"workspaces"'* ]]; then
    workspace=workspace # whose Dockerfiles mostly want all of the checkout
  fi

  while IFS= read -r -d '' place; do
    if [[ ! $workspace && -f $build/src/${place%/*}/package.json ]] \
      && [[ ${place##*/} =~ ^[Dd]ockerfile$ ]]; then
      advice+=", or there is $place: set \"context\": \"${place%/*}\""
    else
      advice+=", or there is $place: set \"dockerfile\": \"$place\""
    fi
  done < <(
    cd -- "$build/src" || exit
    find . -maxdepth 4 \( -name .git -o -name node_modules \) -prune -o -type f \
      \( -iname Dockerfile -o -iname '*.Dockerfile' -o -iname 'Dockerfile.*' \) \
      ! -iname '*.dockerignore' -printf '%P\0' | sort -z | head -zn 3
  )
  advice=${advice#, or }
  fail 1 "no ${wanted:-Dockerfile} in the repository" \
    "(${advice:-add one, at the root or in \"context\"})"
}

# list_stages: prints the stages of the Dockerfile, and what they install, as lib/stages.awk tells.
list_stages() {
  if [[ -f $build/src/$dockerfile ]]; then
    awk -v target="$(setting target)" -v test="$(setting test/target)" \
      -f "$scripts/lib/stages.awk" "$build/src/$dockerfile"
  fi
}

# dockerfile_installs: prints the first command of a RUN by which the Dockerfile installs what
# package.json names, in a stage that this build makes; nothing where none does.
dockerfile_installs() { list_stages | awk -F '\t' '/^install\tyes/ && !n++ { print $4 }'; }

# testable_stages: prints the named stages before the image's own that have development
# dependencies, in their order.
testable_stages() { list_stages | awk -F '\t' '/^stage/ && $3 == "testable" { print $2 }'; }
