"""What an organisation asks for before a child is named in public, beside what the service does: by level, which criteria its case meets.

It is held by `organisations`, and asked by `rules`.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from alertd.model.faults import refusal, refuse
from alertd.model.fields import Document, Line
from alertd.model.kinds import Criterion

#: More than verify cases of one organisation.
MOST_AUTHORITIES = 50


class VerificationRule(Document):
    """What the case of an Actual alert of a level must have been found to be, before anybody is told."""

    all_of: Annotated[
        tuple[Criterion, ...], Field(max_length=len(Criterion), description="It meets each of these,")
    ] = ()
    any_of: Annotated[
        tuple[Criterion, ...], Field(max_length=len(Criterion), description="and so many of these as `at_least` says.")
    ] = ()
    at_least: Annotated[int, Field(ge=1, le=len(Criterion))] = 1
    authorities: Annotated[
        tuple[Line, ...],
        Field(
            max_length=MOST_AUTHORITIES, description="Who verifies cases, as their alerts name them; empty: anybody."
        ),
    ] = ()
    custody_checked: bool = Field(True, description="Whether custody must have been checked.")

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if not (self.all_of or self.any_of):
            raise refusal(
                "A rule names a criterion in all_of or any_of; leave it out where the service's own is enough."
            )
        if self.at_least > max(len(set(self.any_of)), 1):
            refuse("VerificationRule", [(("at_least",), "any_of has fewer criteria.")])
        return self
