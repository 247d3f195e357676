# stages.awk tells of a Dockerfile which stages it has, and where they install packages
#
# awk -v target=STAGE -v test=STAGE -f stages.awk DOCKERFILE: what `target` (empty: the last one)
# and `test.target` say, `auto` too. It prints, TAB between:
#
#   stage NAME ROLE MODULES           NAME: - without one. ROLE: image, that one is built of it;
#                                     testable, where it stands before, has a name and development
#                                     dependencies; else -. MODULES: all, production (that is
#                                     without those), or -: by installs, base, COPY of node_modules
#   install BUILT COPIED COMMAND RUN  a RUN that installs, after its stage. BUILT: is that stage a
#                                     part of this build? COPIED: was all copied before? yes or -
#
# What brings packages by name, as npm i -g pm2, is not meant.

BEGIN {
  stage = -1
  OFS = "\t"
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
  production = "--omit[= ]dev|--only[= ]prod|--production( |$|=true)|--prod( |$)| -P( |$)" \
    "|NODE_ENV=production"
  development = "--include[= ]dev|--production=false"
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

  # A word that begins so: <<< is none, nor is a shift.
  if (text ~ /^[ \t]*[Rr][Uu][Nn][ \t](.*[ \t])?[0-9]*<<-?["']?[A-Za-z_]/) {
    heredoc = text
    sub(/.*<<-?["']?/, "", heredoc)
    sub(/[^A-Za-z0-9_].*/, "", heredoc)
  } else {
    end_instruction()
  }
}

END {
  if (stage < 0) exit
  image = stage
  if (target != "" && tolower(target) in stages) image = stages[tolower(target)]
  for (i = 0; i < image; i++) {
    if (names[i] != "-" && modules[i] == "all") testable[i] = last = i
  }
  if (test == "auto") need(last)
  else need(number_of(test))
  need(image)

  for (i = 0; i <= stage; i++) {
    role = i == image ? "image" : i in testable ? "testable" : "-"
    print "stage", names[i], role, modules[i] == "" ? "-" : modules[i]
    for (j = 0; j < count_of[i]; j++) print "install", needed[i] ? "yes" : "-", installs[i, j]
  }
}

# end_instruction: notes what $text says of its stage.
function end_instruction(word, count, i, what, from) {
  count = split(text, word, " ")
  what = toupper(word[1])
  if (what == "FROM") {
    i = 2
    while (word[i] ~ /^--/) i++
    from = number_of(word[i])
    stage++
    uses[stage] = from
    modules[stage] = modules[from]
    in_production[stage] = in_production[from]
    names[stage] = toupper(word[i + 1]) == "AS" ? word[i + 2] : "-"
    if (names[stage] != "-") stages[tolower(names[stage])] = stage
  } else if (stage >= 0) {
    for (i = 2; word[i] ~ /^--/; i++) {
      if (match(word[i], /(^--|,)from=[^,]+/)) {
        from = number_of(substr(word[i], index(word[i], "from=") + 5))
        uses[stage] = uses[stage] " " from
        if (what == "COPY" && text ~ /node_modules/) modules[stage] = modules[from]
      }
    }
    if (what == "COPY" && text !~ /--from=/ && word[i] ~ /^(\.\/?|\/)$/) {
      copied[stage] = "yes"
    }
    if (what == "ENV" && text ~ /NODE_ENV[= ]"?production/) in_production[stage] = 1
    if (what == "RUN") note_run()
  }
  text = ""
}

# note_run: does the RUN in $text install, and which dependencies?
function note_run(found, run) {
  if (text ~ /(npm|pnpm)[ \t]+prune.*(--omit=dev|--production|--prod)/) {
    modules[stage] = "production"
    return
  }

  found = find_install(text)
  if (found == "") return
  modules[stage] = kind
  run = text
  sub(/^[ \t]*[A-Za-z]+[ \t]+/, "", run)
  gsub(/[ \t\n]+/, " ", run)
  sub(/ $/, "", run)
  installs[stage, count_of[stage]++] = (copied[stage] ? "yes" : "-") "\t" found "\t" run
}

# number_of STAGE: of those that stand above, by name or number; "" of an image.
function number_of(name) {
  sub(/,.*/, "", name)
  name = tolower(name)
  if (name in stages) return stages[name]
  return (name ~ /^[0-9]+$/ && name + 0 <= stage) ? name : ""
}

# need NUMBER: that stage is built, and all that it takes from.
function need(number, count, i, used) {
  if (number == "" || needed[number]) return
  needed[number] = 1
  count = split(uses[number], used, " ")
  for (i = 1; i <= count; i++) need(used[i])
}

# find_install SCRIPT: returns its first command that installs, or "". Sets $kind to all, or to
# production where none of them brings development dependencies.
function find_install(script, command, count, i, first) {
  kind = "production"
  sub(/^[ \t]*[A-Za-z]+/, "", script)
  gsub(/["',\[\]]/, " ", script) # also the form that is a list
  count = split(script, command, /&&|\|\||[;|&()\n]/)
  for (i = 1; i <= count; i++) {
    if (!is_install_command(command[i])) continue
    gsub(/^[ \t]+|[ \t]+$/, "", command[i])
    gsub(/[ \t]+/, " ", command[i])
    if (first == "") first = command[i]
    if (command[i] ~ development || !(in_production[stage] || command[i] ~ production)) {
      kind = "all"
    }
  }
  return first
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
