"""Values of number fields and sliders: the browser may send a float, whole (7.0) or not (7.5)."""

from __future__ import annotations

from vitsplice.errors import UserError


def whole_number(label: str, value: float | None) -> int:
    """Return a value as an integer, such as 7 for 7.0.

    Raises UserError, with the label of the field, for an empty field (None) or a value that is not whole.
    """
    if value is None:
        raise UserError(f"the field {label} is empty; give a whole number")
    if not (isinstance(value, int) or float(value).is_integer()):
        raise UserError(f"the field {label} has the value {value}; give a whole number")
    return int(value)
