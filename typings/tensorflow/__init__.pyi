# TensorFlow builds its namespace at run time and the stubs that type checkers bring along disagree
# with it, so for pyright its names are untyped. `tf.function` keeps the type of what it wraps:
# calls of our own methods stay checked.
from collections.abc import Callable
from typing import Any, TypeVar, overload

_F = TypeVar("_F", bound=Callable[..., Any])

@overload
def function(func: _F, /, **options: Any) -> _F: ...
@overload
def function(**options: Any) -> Callable[[_F], _F]: ...
def __getattr__(name: str) -> Any: ...
