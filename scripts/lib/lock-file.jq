# lock-file.jq tells what a package-lock.json says of scripts, and of what else decides an install
#
# jq -n -r -f lock-file.jq package.json package-lock.json prints, TAB between: `whole` where it is
# no function of the lock file alone (version 1 says nothing of scripts; packages from git or a folder
# are made of what is there); `script NAME` for each package that has some; `folder PATH NAME` for
# the project and each part of its workspace; `own NAME` for the project's own, in npm's order.
input as $package
| input as $lock
| ($lock.packages // {}) as $packages
| if ($lock.lockfileVersion // 1) < 2
    or any($packages[]; (.resolved // "") | test("^(git|file:)"))
  then "whole"
  else empty end,
  ($packages | to_entries[]
    | if .key | test("(^|/)node_modules/") then
        if .value.hasInstallScript and (.value.link | not) then
          "script\t" + (.value.name // (.key | sub("^(.*/)?node_modules/"; "")))
        else empty end
      else
        "folder\t" + (if .key == "" then "." else .key end)
          + "\t" + (.value.name // (.key | split("/")[-1]))
      end),
  ("dependencies", "preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare",
    "postprepare" | select($package.scripts[.]?) | "own\t" + .)
