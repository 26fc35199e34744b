"""JSON merge patches (RFC 7396)."""

from __future__ import annotations

from typing import Any


def merged(document: Any, patch: Any) -> Any:
    """Returns the document after the patch: members of the patch replace those of the document, null removes a member, all others stay.
    Changes neither argument.
    """
    if not isinstance(patch, dict):
        return patch
    result = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
