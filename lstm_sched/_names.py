"""Names that a user types: looked up, or refused with what was probably meant."""

import difflib
from collections.abc import Iterable


def check_name(field: str, name: str, allowed: Iterable[str]) -> str:
    """The name itself. Raises ValueError naming field, value, near names and what is allowed."""
    allowed = list(allowed)
    if name not in allowed:
        near = difflib.get_close_matches(name, allowed)
        hint = f" (did you mean {' or '.join(near)}?)" if near else ""
        raise ValueError(f"{field}: unknown {name!r}{hint}; allowed: {', '.join(allowed)}")
    return name
