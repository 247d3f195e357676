"""Which branches and tags the settings name."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

DEFAULT = "{default}"  # stands for the remote's default branch


def matches(name: str, globs: Iterable[str], default: str | None = None) -> bool:
    """Is a branch or tag to be built? Of the globs that match it the last one counts:
    with ! before it that excludes. * matches / too.

    default: the remote's default branch, which {default} stands for
    """
    built = False
    for each in globs:
        glob = each.removeprefix("!")
        if name == default if glob == DEFAULT else fnmatchcase(name, glob):
            built = not each.startswith("!")
    return built


def names_default(globs: Iterable[str]) -> bool:
    """Has the remote to be asked for its default branch?"""
    return any(glob.removeprefix("!") == DEFAULT for glob in globs)


def exclude_alone(globs: list[str]) -> bool:
    """Are there only exclusions? These match nothing."""
    return bool(globs) and all(glob.startswith("!") for glob in globs)
