"""PathLike: what names a file or a directory in every public call."""

import os

PathLike = str | os.PathLike[str]
