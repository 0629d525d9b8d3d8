"""Values of number fields and sliders, which the browser may send with a fraction."""

from __future__ import annotations

from vitsplice.errors import UserError


def whole_number(label: str, value: float | None) -> int:
    """Return a value as an integer, such as 7 for 7.0.

    Raises UserError, with the label of the field, for an empty field (None) or a fraction.
    """
    if value is None:
        raise UserError(f"the field {label} is empty; give a whole number")
    if not float(value).is_integer():
        raise UserError(f"the field {label} has the value {value}; give a whole number, such as {round(value)}")
    return int(value)
