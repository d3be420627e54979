"""The validation data of a fit, as users give them: in one tuple, or in arguments of their own, which a pipeline can route."""

from __future__ import annotations

from typing import Any, NamedTuple


class Given(NamedTuple):
    """Validation data as they came, unchecked, and the name of the argument that they came by."""

    name: str
    X: Any
    y: Any
    weights: Any = None


def as_given(validation_data: Any, X_val: Any, y_val: Any, sample_weight_val: Any) -> Given | None:
    """Return the validation data, from either form; None where there are none."""
    apart = {"X_val": X_val, "y_val": y_val, "sample_weight_val": sample_weight_val}
    present = [name for name, value in apart.items() if value is not None]
    if validation_data is None and not present:
        return None
    if not present:
        return from_tuple(validation_data)
    if validation_data is not None:
        raise ValueError(f"{present[0]}: got one beside validation_data, expected one of the two forms")
    for name in ("X_val", "y_val"):
        if name not in present:
            raise ValueError(f"{name}: got None beside {present[0]}, expected X_val and y_val")
    return Given("X_val, y_val", X_val, y_val, sample_weight_val)


def from_tuple(validation_data: Any) -> Given:
    expected = "expected (X, y) or (X, y, sample_weight)"
    if not isinstance(validation_data, tuple | list):
        raise TypeError(f"validation_data: got {type(validation_data).__name__}, {expected}")
    if len(validation_data) not in (2, 3):
        raise TypeError(f"validation_data: got {len(validation_data)} of them, {expected}")
    return Given("validation_data", *validation_data)
