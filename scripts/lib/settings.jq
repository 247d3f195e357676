# settings.jq turns settings into files: what write_settings in common.sh makes settings/ of.

# defaults: of the schema of an object, the values that its keys have where nobody set them.
def defaults:
  .properties
  | with_entries(select(.value | has("default") or has("properties")))
  | map_values(if has("default") then .default else defaults end);

# parts: for each file its path; `text` and the text, or a number and so many items; a folder has
# `folder`. No file is made of null, and the name of a secret has a file of its own kind.
def parts($path):
  if . == null then
    empty
  elif type == "object" and keys == ["secret"] then
    "\($path).secret", "text", .secret
  elif type == "object" then
    $path, "folder", (to_entries[] | .key as $key | .value | parts("\($path)/\($key)"))
  elif type == "array" then
    $path, "\(length)", (.[] | tostring)
  else
    $path, "text", tostring
  end;

# files: the settings, each part with a NUL behind it, and `end`.
def files:
  (parts(""), "end") + "\u0000";
