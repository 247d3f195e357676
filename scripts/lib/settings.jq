# settings.jq turns settings into files: what write_settings in common.sh makes settings/ of.

# defaults: of the schema of an object, the values that its keys have where nobody set them.
def defaults:
  .properties
  | with_entries(select(.value | has("default") or has("properties")))
  | map_values(if has("default") then .default else defaults end);

def is_secret: type == "object" and keys == ["secret"];

# folders: the paths of those that objects become.
def folders($path):
  if type == "object" and (is_secret | not) then
    $path, (to_entries[] | .key as $key | .value | folders("\($path)/\($key)"))
  else
    empty
  end;

# parts: for each file its path; and `text` and the text, or a number and so many items. No file is
# made of null, and the name of a secret has a file of its own kind.
def parts($path):
  if . == null then
    empty
  elif is_secret then
    "\($path).secret", "text", .secret
  elif type == "object" then
    to_entries[] | .key as $key | .value | parts("\($path)/\($key)")
  elif type == "array" then
    $path, "\(length)", (.[] | tostring)
  else
    $path, "text", tostring
  end;

# files: the settings, each part with a NUL behind it: the number of folders, these, and the files'
# parts, and `end`.
def files:
  [folders("")] as $folders
  | ("\($folders | length)", $folders[], parts(""), "end") + "\u0000";
