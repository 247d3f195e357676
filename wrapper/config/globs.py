"""Which branches and tags the settings name."""

from collections.abc import Iterable
from fnmatch import fnmatchcase


def matches(name: str, globs: Iterable[str]) -> bool:
    """Is a branch or tag to be built? Of the globs that match it the last one counts:
    with ! before it that excludes. * matches / too.
    """
    built = False
    for glob in globs:
        if fnmatchcase(name, glob.removeprefix("!")):
            built = not glob.startswith("!")
    return built


def exclude_alone(globs: list[str]) -> bool:
    """Are there only exclusions? These match nothing."""
    return bool(globs) and all(glob.startswith("!") for glob in globs)
