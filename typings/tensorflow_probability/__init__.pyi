# Its namespaces are filled at run time, out of a type checker's sight: its names are untyped.
from typing import Any

def __getattr__(name: str) -> Any: ...
