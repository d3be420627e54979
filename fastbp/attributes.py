"""Attributes that mean what they say: what can be set is checked and counts, what is fixed or unknown is refused."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


class Declared:
    """The base of layers, networks and callbacks, whose attributes are those that their class declares.

    A class declares one by `fixed()`, by `setting(...)`, by a property, or as a field of a dataclass. An AttributeError refuses
    to set or delete any other, and one that is fixed. Private attributes are not checked, and a class that users derive from
    one of fastbp's may have any others besides.
    """

    _of_fastbp = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._of_fastbp = cls.__module__.partition(".")[0] == __name__.partition(".")[0]

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            check = checks_of(type(self)).get(name)
            value = check(name, value) if check is not None else self._unless_refused(name, value)
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if name in checks_of(type(self)) or isinstance(getattr(type(self), name, None), Fixed | property):
            raise AttributeError(f"{name}: got a deletion, expected none of what a {type(self).__name__} needs")
        object.__delattr__(self, name)

    def _unless_refused(self, name: str, value: Any) -> Any:
        """Return the value if it may be set: while the object is made, or where a class of the user's does not declare it."""
        kind, found = type(self), getattr(type(self), name, None)
        if isinstance(found, property) or (isinstance(found, Fixed) and getattr(self, name) is not found):
            raise AttributeError(f"{name}: got an assignment, expected none: {kind.__name__}.{name} can only be read")
        if self._of_fastbp and not isinstance(found, Fixed):
            settable = ", ".join(sorted(checks_of(kind))) or "nothing"
            raise AttributeError(
                f"{name}: got an assignment, expected one to what can be set of a {kind.__name__}: {settable}"
            )
        return value


def as_it_is(name: str, value: Any) -> Any:
    """Return the value, which may be any."""
    return value


Checks = dict[str, Callable[[str, Any], Any]]


def checks_in(kind: type) -> Checks:
    """Return the check of each public attribute that may be set, by name."""
    checks: Checks = dict.fromkeys(getattr(kind, "__dataclass_fields__", ()), as_it_is)
    for name in (name for name in dir(kind) if not name.startswith("_")):
        found = getattr(kind, name)
        if isinstance(found, Setting):
            checks[name] = found.check
        elif isinstance(found, property) and found.fset is not None:
            checks[name] = as_it_is
    return checks


checks_of: Callable[[type], Checks] = functools.cache(checks_in)


class Setting:
    """What `setting` returns: no descriptor, so that Python finds the value in the object, as fast as any attribute."""

    def __init__(self, check: Callable[[str, Any], Any]):
        self.check = check


class Fixed:
    """What `fixed` returns."""


def setting(check: Callable[..., Any] = as_it_is, **bounds: Any) -> Any:
    """Declare an attribute that can be set at any time, to what check(name, value, **bounds) returns."""
    return Setting(functools.partial(check, **bounds))


def fixed() -> Any:
    """Declare an attribute that is set once, while its object is made."""
    return Fixed()
