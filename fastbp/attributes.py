"""Attributes that mean what they say: what can be set is checked and counts, what is fixed or unknown is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any


class Declared:
    """What layers, networks and callbacks share: attributes are those that their class declares.

    It does so by `fixed()`, by `setting(...)`, by a property, or as a field of a dataclass. An AttributeError refuses to set
    or delete any other, and a value that is fixed. Private ones are the object's own affair, and a class that somebody
    derives from one of fastbp's may have what it likes beside them.
    """

    _of_fastbp = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._of_fastbp = cls.__module__.partition(".")[0] == __name__.partition(".")[0]

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            self._refuse_unless_settable(name)
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if is_declared(type(self), name):
            raise AttributeError(f"{name}: got a deletion, expected none of what a {type(self).__name__} needs")
        object.__delattr__(self, name)

    def _refuse_unless_settable(self, name: str) -> None:
        kind = type(self)
        if is_fixed(kind, name) and (name in vars(self) or isinstance(getattr(kind, name), property)):
            raise AttributeError(f"{name}: got an assignment, expected none: {kind.__name__}.{name} can only be read")
        if kind._of_fastbp and not is_declared(kind, name):
            settable = sorted(n for n in names_of(kind) if is_declared(kind, n) and not is_fixed(kind, n))
            raise AttributeError(
                f"{name}: got an assignment, expected one to what can be set of a {kind.__name__}: "
                f"{', '.join(settable) or 'nothing'}"
            )


def is_declared(kind: type, name: str) -> bool:
    return hasattr(getattr(kind, name, None), "__set__") or name in getattr(kind, "__dataclass_fields__", ())


def is_fixed(kind: type, name: str) -> bool:
    found = getattr(kind, name, None)
    return found.fset is None if isinstance(found, property) else isinstance(found, Fixed)


def names_of(kind: type) -> set[str]:
    """The public ones among what the class and its dataclass fields name."""
    return {name for name in (*dir(kind), *getattr(kind, "__dataclass_fields__", ())) if not name.startswith("_")}


class Setting:
    """See `setting`. Without a `__get__` Python finds the value in the object itself, at the speed of any attribute."""

    def __init__(self, check: Callable[[str, Any], Any]):
        self.check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __set__(self, instance: Any, value: Any) -> None:
        vars(instance)[self.name] = self.check(self.name, value)


class Fixed(Setting):
    """See `fixed`; `Declared` refuses a second assignment."""


def as_it_is(name: str, value: Any) -> Any:
    return value


def setting(check: Callable[..., Any] = as_it_is, **bounds: Any) -> Any:
    """An attribute that can be set at any time, to what check(name, value, **bounds) returns."""
    return Setting(partial(check, **bounds))


def fixed() -> Any:
    """An attribute that is set once, while its object is made."""
    return Fixed(as_it_is)


def flag(name: str, value: Any) -> bool:
    """`value` as it is; TypeError unless it is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}: got {value!r}, expected True or False")
    return value


def dictionary(name: str, value: Any) -> dict:
    """`value` as it is; TypeError unless it is a dict."""
    if not isinstance(value, dict):
        raise TypeError(f"{name}: got {value!r}, expected a dict")
    return value
