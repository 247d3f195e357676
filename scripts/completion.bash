# shellcheck shell=bash
# completion.bash completes docker-build-server in bash: . scripts/completion.bash

_docker_build_server() {
  local word=${COMP_WORDS[COMP_CWORD]} command='' words='' each
  local -A options=(
    [poll]='--once --verbose --quiet -v -q' [status]='-n --all --json'
    [log]='-f --step --failed' [why]='--json'
    [images]='--all --json' [trigger]='--version --wait' [rerun]='--from --wait'
    [withdraw]='--undo' [notify]='--test' [forget]='--yes' [check]='' [doctor]='' [health]=''
    [plan]='--json' [cancel]='' [pause]='' [resume]='' [promote]=''
    [serve]='--listen --token-file --allow --hook-secret-file --host --url --public-read'
  )
  options[serve]+=' --public-badge'
  local steps='clone npm-install version build unit-test tag-push'

  for each in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    if [[ ${options[$each]+known} ]]; then
      command=$each
      break
    fi
  done

  if [[ ! $command ]]; then
    words="${!options[*]} --config --version --help"
  elif [[ ${COMP_WORDS[COMP_CWORD - 1]} =~ ^--(from|step)$ ]]; then
    words=$steps
  elif [[ ${COMP_WORDS[COMP_CWORD - 1]} == --allow ]]; then # some of them, a comma between
    each=''
    if [[ $word == *,* ]]; then
      each=${word%,*},
    fi
    words="${each}builds ${each}steps ${each}publish ${each}config"
  elif [[ ${COMP_WORDS[COMP_CWORD - 1]} =~ ^--.*-file$ ]]; then
    words='' # bash completes a file
  elif [[ $word == -* || $command == serve ]]; then
    words="${options[$command]} --config --help"
  else # a repository, as the builds folder has it: the service's, where there is none here
    for each in "${BUILDS:-builds}" /var/lib/docker-build-server/builds; do
      if [[ -d $each ]]; then
        words=$(cd -- "$each" 2>/dev/null && compgen -G '[!.]*/*')
        break
      fi
    done
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

complete -o default -F _docker_build_server docker-build-server
