# installs.awk tells whether a Dockerfile installs the packages of package.json by itself
#
# awk -v targets='STAGE ...' -f installs.awk DOCKERFILE prints the first command of a RUN that does,
# of the stages that are built for one of the targets (- is the last stage); nothing where none
# does. What brings packages by name, as npm i -g pm2, is not meant.

BEGIN {
  stage = -1
  # Options whose value is a word of its own.
  valued = " --prefix --cwd --dir --filter --registry --cache --loglevel --omit --include --only" \
    " --network-timeout --network-concurrency --mutex --modules-folder --cache-folder --workspace" \
    " --userconfig --globalconfig --store-dir --reporter -C -F -w -L "
  split("npm yarn pnpm bun", list, " ")
  for (i in list) is_manager[list[i]] = 1
  split("ci clean-install ic install-clean install i", list, " ")
  for (i in list) is_install[list[i]] = 1
  # What may stand before a command.
  split("corepack npx --yes -y env exec time sudo sh bash -c -ec -exc -lc", list, " ")
  for (i in list) leads[list[i]] = 1
  split("if then else do { !", list, " ")
  for (i in list) leads[list[i]] = 1
}

{ sub(/\r$/, "") }

# What stands below a RUN <<END is a script, up to that word.
heredoc != "" {
  bare = $0
  sub(/^\t+/, "", bare)
  if (bare == heredoc) {
    heredoc = ""
    end_instruction()
  } else {
    text = text "\n" $0
  }
  next
}

# A comment is none of an instruction, nor is an empty line in it.
/^[ \t]*#/ || (text != "" && /^[ \t]*$/) { next }

{
  goes_on = sub(/[\\`][ \t]*$/, "")
  text = text $0 " "
  if (goes_on) next

  if (text ~ /^[ \t]*[Rr][Uu][Nn][ \t].*<<-?["']?[A-Za-z_]/) {
    heredoc = text
    sub(/.*<<-?["']?/, "", heredoc)
    sub(/[^A-Za-z0-9_].*/, "", heredoc)
  } else {
    end_instruction()
  }
}

END {
  count = split(targets, target, " ")
  for (i = 1; i <= count; i++) need(target[i] == "-" ? stage : number_of(target[i]))
  for (i = 0; i <= stage; i++) {
    if (needed[i] && installs[i] != "") {
      print installs[i]
      exit
    }
  }
}

# end_instruction: notes what $text says of its stage.
function end_instruction(word, count, i) {
  count = split(text, word, " ")
  if (toupper(word[1]) == "FROM") {
    i = 2
    while (word[i] ~ /^--/) i++
    uses[stage + 1] = number_of(word[i])
    stage++
    if (toupper(word[i + 1]) == "AS") stages[tolower(word[i + 2])] = stage
  } else {
    for (i = 2; word[i] ~ /^--/; i++) {
      if (match(word[i], /(^--|,)from=[^,]+/)) {
        uses[stage] = uses[stage] " " number_of(substr(word[i], index(word[i], "from=") + 5))
      }
    }
    if (toupper(word[1]) == "RUN" && installs[stage] == "") installs[stage] = find_install(text)
  }
  text = ""
}

# number_of STAGE: of those that stand above, by name or number; "" of an image.
function number_of(name) {
  sub(/,.*/, "", name)
  name = tolower(name)
  if (name in stages) return stages[name]
  return (name ~ /^[0-9]+$/ && name <= stage) ? name : ""
}

# need NUMBER: that stage is built, and all that it takes from.
function need(number, count, i, used) {
  if (number == "" || needed[number]) return
  needed[number] = 1
  count = split(uses[number], used, " ")
  for (i = 1; i <= count; i++) need(used[i])
}

# find_install SCRIPT: returns its first command that installs, or "".
function find_install(script, command, count, i) {
  sub(/^[ \t]*[A-Za-z]+/, "", script)
  gsub(/["',\[\]]/, " ", script) # also the form that is a list
  count = split(script, command, /&&|\|\||[;|&()\n]/)
  for (i = 1; i <= count; i++) {
    if (is_install_command(command[i])) {
      gsub(/^[ \t]+|[ \t]+$/, "", command[i])
      gsub(/[ \t]+/, " ", command[i])
      return command[i]
    }
  }
  return ""
}

function is_install_command(line, word, count, i, manager, verb) {
  count = split(line, word, " ")
  i = 1
  while (word[i] in leads || word[i] ~ /^--(mount|network|security)=|^[A-Za-z_][A-Za-z0-9_]*=/) i++
  manager = word[i]
  sub(/^.*\//, "", manager)
  sub(/@.*/, "", manager)
  if (!(manager in is_manager)) return 0

  verb = ""
  for (i++; i <= count; i++) {
    if (index(valued, " " word[i] " ")) {
      i++
    } else if (word[i] ~ /^(-g|--global|--location=global|-v|--version|-h|--help)$/) {
      return 0
    } else if (word[i] ~ /[<>]/) {
      if (word[i] ~ /[<>]$/) i++ # its file is the next word
    } else if (word[i] ~ /^-|^\$|^#|^\.$/) {
      if (word[i] ~ /^#/) break
    } else if (verb == "") {
      verb = word[i]
    } else if (verb == "workspaces" && word[i] == "focus") {
      return 1
    } else {
      return 0 # the name of a package, or another command's argument
    }
  }
  if (verb == "") return manager == "yarn"
  return verb in is_install
}
