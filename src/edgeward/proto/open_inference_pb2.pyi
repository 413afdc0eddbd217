# The messages are made when the module is imported, so no tool sees their names.
from typing import Any

def __getattr__(name: str) -> Any: ...
