"""Which version a caller saw: `ETag` in answers, `If-Match` in requests (RFC 9110, sections 8.8.3 and 13.1.1)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

_NEVER = -1  # a version that nothing has


class Conditions(BaseModel):
    """The headers of a request that changes something."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    if_match: str | None = Field(None, alias="If-Match", description="ETag of the version you saw.", max_length=32)

    @property
    def version(self) -> int | None:
        """The version that must still be there; None if any will do."""
        if self.if_match in {None, "*"}:
            return None
        text = str(self.if_match).strip('"')
        return int(text) if text.isascii() and text.isdecimal() else _NEVER


class NewOrSeen(Conditions):
    """The headers of a request that may make what it names, too."""

    if_none_match: Literal["*"] | None = Field(
        None, alias="If-None-Match", description="Only if nothing has this name yet (RFC 9110, section 13.1.2)."
    )


def etag(version: int) -> dict[str, str]:
    """The header that names a version."""
    return {"ETag": f'"{version}"'}
