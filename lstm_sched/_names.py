"""The check of a name that a user typed; an unknown one is refused with suggestions."""

import difflib
from collections.abc import Iterable


def check_name(field: str, name: str, allowed: Iterable[str]) -> str:
    """Return an allowed name. Raises ValueError with field, name, similar names and all allowed ones."""
    allowed = list(allowed)
    if name not in allowed:
        near = difflib.get_close_matches(name, allowed)
        hint = f" (did you mean {' or '.join(near)}?)" if near else ""
        raise ValueError(f"{field}: unknown {name!r}{hint}; allowed: {', '.join(allowed)}")
    return name
