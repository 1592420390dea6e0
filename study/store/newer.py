"""Files of a later version of this program are refused, and stay as they are: what they hold may be worth more.

Every kind of file counts its layouts from 1 in a field `schema`; a file without the field has the first one.
"""

from __future__ import annotations

from l3masking.errors import InputError

REMEDY = "a newer l3study wrote it; update the package l3masking-study"


def refuse_newer(place: object, schema: object, known: int) -> None:
    """Raise InputError where `schema`, as the file at `place` gives it, is above the newest that is `known` here."""
    if isinstance(schema, int) and schema > known:
        raise InputError(f"{place}: schema {schema}, this program reads up to {known}: {REMEDY}")
