"""Folders: where the files of captures lie below a directory, and whose device they are.

A device's own capture directory has them directly in it. A directory that gathers those of many
devices has a folder for each, named by the device; folders may be nested.
"""

import os

from edgeward.paths import PathLike


def files_below(directory: PathLike, *suffixes: str) -> list[str]:
    """Those whose name ends so, by name. Follows no link to a folder. Raises OSError."""
    paths = [
        os.path.join(folder, name)
        for folder, _, names in os.walk(os.fsdecode(directory), onerror=_refuse)
        for name in names
        if name.endswith(suffixes)
    ]
    return sorted(paths, key=lambda path: (os.path.basename(path), path))


def device_of(path: str, directory: PathLike) -> str:
    """The folder below `directory` in which `path` lies: "" directly in it, "site/gate" deeper."""
    folder = os.path.relpath(os.path.dirname(path), os.fsdecode(directory))
    return "" if folder == os.curdir else folder


def _refuse(error: OSError) -> None:
    raise error
