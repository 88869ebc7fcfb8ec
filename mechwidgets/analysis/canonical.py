"""JSON in one form that Python and JavaScript write alike, so that both can check a document's checksum; the twin of js/document/canonical.ts.

No spaces, names sorted by their UTF-16 units, all but printable ASCII escaped, numbers as JavaScript prints them.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

# Above, JavaScript writes numbers with an exponent.
_MOST_PLAIN_DIGITS = 21


def canonical(value: Any) -> str:
    """The one form of what JSON can say.

    Raises:
        ValueError: NaN or infinity.
        TypeError: something else than JSON has.
    """
    match value:
        case dict():
            names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
            return "{" + ",".join(f"{json.dumps(name)}:{canonical(value[name])}" for name in names) + "}"
        case list() | tuple():
            return "[" + ",".join(map(canonical, value)) + "]"
        case float():
            return _number(value)
        case None | bool() | int() | str():
            return json.dumps(value)
    raise TypeError(f"JSON has no {type(value).__name__}.")


def _number(value: float) -> str:
    """A float as ECMAScript's Number::toString writes it."""
    if not math.isfinite(value):
        raise ValueError(f"JSON has no word for {value}.")
    if value == 0:
        return "0"
    sign, found, exponent = Decimal(repr(value)).as_tuple()
    written = "".join(map(str, found))
    # where the decimal point stands, from the first digit
    point = len(written) + int(exponent)
    digits = written.rstrip("0")
    return ("-" if sign else "") + _placed(digits, point)


def _placed(digits: str, point: int) -> str:
    if len(digits) <= point <= _MOST_PLAIN_DIGITS:
        return digits + "0" * (point - len(digits))
    if 0 < point <= _MOST_PLAIN_DIGITS:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"0.{'0' * -point}{digits}"
    mantissa = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
    return f"{mantissa}e{point - 1:+d}"
