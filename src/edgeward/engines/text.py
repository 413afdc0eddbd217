"""The text of small files that the kernel or other programs write."""


def text_of(path: str) -> str:
    """The file's text; empty when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""
