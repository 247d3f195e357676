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

# dockerfile_installs: prints the first command of a RUN by which the Dockerfile installs what
# package.json names, in a stage that this build makes; nothing where none does.
dockerfile_installs() {
  local targets
  targets=$(setting target)
  targets="${targets:--} $(setting test/target)"
  if [[ -f $build/src/$dockerfile ]]; then
    awk -v targets="$targets" -f "$scripts/lib/installs.awk" "$build/src/$dockerfile"
  fi
}

# instructions: prints those of the Dockerfile, one a line, TAB between: the number of the stage,
# its name ("-": none), its base, the instruction in capitals, and its words. Lines that go on are
# one, comments are left out, and of a heredoc each line is a command of its own.
instructions() {
  awk '
    function print_it(text,   word, rest, parts) {
      sub(/^[ \t]+/, "", text)
      word = toupper(text)
      sub(/[ \t].*/, "", word)
      rest = substr(text, length(word) + 1)
      gsub(/[ \t]+/, " ", rest)
      sub(/^ /, "", rest)
      if (word == "FROM") {
        stage++
        name = "-"
        gsub(/--platform=[^ ]* ?/, "", rest)
        split(rest, parts, " ")
        base = parts[1]
        if (toupper(parts[2]) == "AS") name = parts[3]
      }
      if (word != "") printf "%d\t%s\t%s\t%s\t%s\n", stage, name, base, word, rest
    }
    { sub(/\r$/, "") }
    heredoc != "" {
      line = $0
      sub(/^\t+/, "", line)
      if (line == heredoc) { heredoc = ""; print_it(text); text = "" }
      else text = text " ; " line
      next
    }
    /^[ \t]*#/ || (text == "" && /^[ \t]*$/) { next }
    {
      goes_on = sub(/\\[ \t]*$/, "")
      text = text (text == "" ? "" : " ") $0
      if (goes_on) next
      if (match(text, /<<-?["\047]?[A-Za-z_][A-Za-z0-9_]*/)) {
        heredoc = substr(text, RSTART, RLENGTH)
        gsub(/[<"\047-]/, "", heredoc)
        next
      }
      print_it(text)
      text = ""
    }
    END { if (text != "") print_it(text) }
  ' "$build/src/$dockerfile"
}

# installs COMMANDS [NODE_ENV]: does a RUN with these install the modules of a project? Sets
# $installs to `all`, or to `production` where it leaves development dependencies out. (A package by
# its name, or a global one, is none of the project.)
installs() {
  local command value pattern production commands=$1
  local flags='( +(-[^ ]+|[0-9]*>+ *[^ ]+))* *$'

  value='--(omit|only|include|loglevel|registry|network-timeout|network-concurrency|filter|prefix)'
  value+='|--(cache-folder|cache|store-dir|cwd|fetch-timeout|userconfig|mutex)'
  pattern='(^| |/)(npm +(ci|i|install|clean-install)|yarn( +install)?|(pnpm|bun) +(i|install))'
  pattern+=$flags
  production='--omit[= ]dev|--only[= ]prod|--production( |$|=true)|--prod( |$)| -P( |$)'
  production+='|NODE_ENV=production'
  local development='--(include[= ]dev|production=false)'
  installs=''
  for command in '&&' '||' ';' '|'; do
    commands=${commands//"$command"/$'\n'}
  done
  while IFS= read -r command; do
    # An option and its value are one word for the pattern.
    while [[ $command =~ ^(.*($value))\ +([^\ -].*)$ ]]; do
      command=${BASH_REMATCH[1]}=${BASH_REMATCH[5]}
    done
    if [[ ! $command =~ $pattern || $command =~ \ (-g|--global)(\ |$) ]]; then
      continue
    fi
    if [[ "${2-} $command" =~ $production && ! $command =~ $development ]]; then
      installs=${installs:-production}
    else
      installs=all
    fi
  done <<<"$commands"
}

# read_stages: reads the Dockerfile's stages. Sets, by number from 1, $stage_names, and $stage_has:
# `all` where modules with development dependencies are in the stage, by an install of its own, its
# base, or a COPY of node_modules from another.
read_stages() {
  local number name base word words source
  local -a environment=()
  local -A by_name=()

  stage_names=() stage_has=()
  while IFS=$'\t' read -r number name base word words; do
    if [[ $number -eq 0 ]]; then
      continue # an ARG before the first FROM
    fi
    case $word in
      FROM)
        stage_names[number]=$name stage_has[number]=''
        source=${by_name[${base,,}]-0}
        environment[number]=${environment[source]-} stage_has[number]=${stage_has[source]-}
        by_name[$((number - 1))]=$number
        if [[ $name != - ]]; then
          by_name[${name,,}]=$number
        fi
        ;;
      ENV)
        if [[ $words =~ NODE_ENV[=\ ]\"?production ]]; then
          environment[number]='NODE_ENV=production'
        fi
        ;;
      RUN)
        if [[ $words =~ (npm|pnpm)\ prune.*(--omit=dev|--production|--prod) ]]; then
          stage_has[number]=production
          continue
        fi
        installs "$words" "${environment[number]}"
        if [[ $installs ]]; then
          stage_has[number]=$installs
        fi
        ;;
      COPY)
        if [[ $words =~ --from=([^ ]+).*node_modules ]]; then
          source=${by_name[${BASH_REMATCH[1],,}]-0}
          stage_has[number]=${stage_has[source]-}
        fi
        ;;
      *) ;;
    esac
  done < <(instructions)
}

# testable_stages TARGET: prints the named stages before the image's own (TARGET, or the last) that
# have development dependencies, in their order.
testable_stages() {
  local number
  local -a stage_names stage_has

  read_stages
  for number in "${!stage_names[@]}"; do
    if [[ $number -eq ${#stage_names[@]} || ($1 && ${stage_names[number]} == "$1") ]]; then
      return
    fi
    if [[ ${stage_has[number]} == all && ${stage_names[number]} != - ]]; then
      echo "${stage_names[number]}"
    fi
  done
}
