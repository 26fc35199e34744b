"""Faults of a request as values, and the catalogue of problems that every layer may raise.

    Exception
      ConfigError the configuration cannot be used, so alertd does not start
      Problem     one of `CATALOGUE`, answered as application/problem+json (RFC 9457)

A problem's `type` is `/problems/<slug>`, a relative reference (RFC 9457 section 3.1.1 allows it) that the service
itself serves. Never rename a slug: programs depend on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a document: its place (JSON pointer, RFC 6901) and a sentence that never quotes the value."""

    pointer: str
    detail: str
    parameter: str = ""  # the query parameter or header at fault, if the body is not
    line: int = 0  # line of a body in XML; 0 if there is none


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A kind of problem: its HTTP status, its title and its remedy."""

    status: int
    title: str
    remedy: str


CATALOGUE: dict[str, ProblemType] = {
    "invalid-request": ProblemType(400, "The request is not valid", "Fix the errors listed; each names its field."),
    "case-not-verified": ProblemType(
        422, "The case is not verified", "Complete case.verification and case.best_interests."
    ),
    "protection-review-required": ProblemType(422, "A protection officer must decide", "Ask your protection officer."),
    "approval-required": ProblemType(409, "A second person must approve", "Have another person approve the alert."),
    "same-person": ProblemType(
        403,
        "A second person is needed",
        "Have another person do it, with a key that neither of the two made for the other.",
    ),
    "review-pending": ProblemType(
        409, "An alert approved alone awaits its review", "Have another person review that alert first."
    ),
    "approval-stale": ProblemType(
        409,
        "The approval is no longer valid",
        "Approve the alert again. If that is refused, return it and have it submitted again.",
    ),
    "audience-changed": ProblemType(409, "The audience has changed", "Look at the new count and approve with it."),
    "audience-too-small": ProblemType(
        422,
        "The audience is too small",
        "Take a larger area; if it is large, see that every position has its longitude first.",
    ),
    "too-many-people": ProblemType(
        422, "The audience is larger than allowed", "Take a smaller area, or ask who may allow it."
    ),
    "over-budget": ProblemType(
        422,
        "It would cost more than allowed",
        "Take a smaller area, leave SMS out, or have it approved by a person with the right to exceed the budget.",
    ),
    "outside-jurisdiction": ProblemType(
        403, "The target leaves the jurisdiction", "Draw within it, or have the neighbours asked (target.beyond)."
    ),
    "permission-pending": ProblemType(409, "A neighbour's permission is pending", "Wait for it, or send to the rest."),
    "language-missing": ProblemType(
        422, "The alert has no supported language", "Give the texts in a supported language."
    ),
    "translation-unreviewed": ProblemType(422, "A machine translation is unreviewed", "Have a person review the text."),
    "message-impossible": ProblemType(
        422, "A message cannot be made", "Shorten the text that is too long, or leave the channel out."
    ),
    "photo-rights-missing": ProblemType(422, "The right to the photo is missing", "State source and legal basis."),
    "photo-unreadable": ProblemType(
        422, "The photo cannot be read", "Upload the photo again, as a JPEG, PNG or WebP within the limits."
    ),
    "contact-unreachable-from-area": ProblemType(
        422, "The contact is not reachable there", "Add a number that can be called from there."
    ),
    "contact-voice-only": ProblemType(
        422,
        "A contact without a voice call is missing",
        "Add a contact with text or url, or one for the deaf; your organisation may have a standing one.",
    ),
    "expired": ProblemType(409, "The end has passed", "Give an end in the future, within the limit."),
    "superseded": ProblemType(409, "A later version exists", "Use the latest version."),
    "stop-active": ProblemType(409, "A stop is active", "Nothing is sent until two people resume."),
    "channel-unavailable": ProblemType(
        422, "A channel is not available", "Leave it out, or configure a carrier for it."
    ),
    "duplicate-case": ProblemType(
        409,
        "The case has an alert already",
        "Look at that alert. A new alert needs another external_id, in CAP another identifier.",
    ),
    "duplicate-address": ProblemType(
        409, "The address belongs to another subscriber", "Remove it from the other subscriber first."
    ),
    "unknown-region": ProblemType(422, "A region is unknown", "Use one of the nearest codes, or search /v1/regions."),
    "invalid-geometry": ProblemType(422, "A shape cannot be used", "Fix the shape; each error names its place."),
    "not-found": ProblemType(404, "Not found", "Look at the id."),
    "gone": ProblemType(410, "Gone", "Stop asking for it: it was deleted for good."),
    "unauthenticated": ProblemType(401, "Not authenticated", "Send a valid key as a bearer token, or sign in again."),
    "not-allowed": ProblemType(403, "Not allowed", "Use a key that may do this."),
    "precondition-failed": ProblemType(409, "It is not in a state for this", "Read it again, then decide."),
    "version-changed": ProblemType(
        412, "The version has changed", "Read it again, then repeat the request with its new ETag."
    ),
    "version-required": ProblemType(
        428, "A version is required", "Send the ETag of the version that you read as If-Match."
    ),
    "idempotency-mismatch": ProblemType(422, "The key was used for another request", "Use a new Idempotency-Key."),
    "idempotency-in-progress": ProblemType(409, "The same request is still running", "Ask again after Retry-After."),
    "rate-limited": ProblemType(429, "Too many requests", "Ask again after Retry-After."),
    "too-large": ProblemType(413, "Too large", "Send less at once."),
    "wrong-method": ProblemType(405, "The method is not known here", "Use one that the Allow header names."),
    "wrong-content-type": ProblemType(
        415, "The body is of the wrong type", "Send what `expected` names, and say so in Content-Type."
    ),
    "wrong-encoding": ProblemType(
        415, "The encoding of the body is not accepted", "Send the body in an encoding that Accept-Encoding names."
    ),
    "provider-unavailable": ProblemType(
        503, "The sign-in provider is not available", "Ask again after Retry-After, or sign in with a passkey."
    ),
    "store-unavailable": ProblemType(
        503, "The store is not available", "Ask again after Retry-After; nothing was done."
    ),
    "internal-error": ProblemType(
        500, "The service failed", "Give the `request_id` to the people who run alertd: they find it in the logs."
    ),
}


class ConfigError(ValueError):
    """The configuration cannot be used. The message names each wrong option and what to do."""


class Problem(Exception):  # noqa: N818  the word of RFC 9457
    """A problem of the catalogue, raised to answer a request with it. `detail` is a text for people and names no person; `extra` has
    further members of the JSON answer.
    """

    def __init__(
        self,
        slug: str,
        detail: str,
        *,
        faults: tuple[Fault, ...] = (),
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(f"{slug}: {detail}")
        self.slug = slug
        self.type = CATALOGUE[slug]
        self.detail = detail
        self.faults = faults
        self.status = status or self.type.status
        self.headers = dict(headers or {})
        self.extra = extra
