"""Areas and audiences as API replies show them: the models, and the functions that fill them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from pydantic import BaseModel, Field

from alertd.model.alert import Policy, Target
from alertd.rendering.catalogue import REFERENCE, area_name, matching
from alertd.service.areas.reach_preview import AreaReach
from alertd.service.areas.targeting import REST, Share, paced_s, ring_paces
from alertd.service.container import Container
from alertd.service.reach import LEAST_SHOWN, NOBODY, Count, Estimate, about, by_code
from channels.base import Loudness
from geofences.shapes import Repair, RepairCode
from geofences.targets import Area


class RegionShare(BaseModel):
    code: str
    name: str
    share: float = Field(description="Part of the region that lies in the area, from 0 to 1.")


class RepairReply(BaseModel):
    """One repair of a submitted shape, in parts, for clients that write their own sentence."""

    pointer: str
    code: RepairCode
    figures: dict[str, float | int | str] = Field(
        description="The numbers in the sentence; each name contains its unit."
    )
    text: str = Field(description="The sentence, as `repairs` has it after the pointer.")


class AreaReply(BaseModel):
    name: str | None = Field(description="A name for the area, in the alert's first language; null at sea.")
    km2: float
    regions: list[RegionShare]
    repairs: list[str] = Field(description="Repairs that alertd made to the submitted shapes.")
    mended: list[RepairReply] = Field([], description="The same repairs in parts, in the same order.")


class RingReply(BaseModel):
    """Estimated people in one ring of the target. A person in several rings counts in the smallest."""

    ring: int = Field(description="1 is the first ring of the target; 0 is the area outside all rings.")
    loudness: Loudness | None = Field(description="Null in a preview if the alert's level decides.")
    delay_min: int
    km2: float = Field(description="Area of the ring in km², without smaller rings.")
    people: Estimate
    addresses: dict[str, Estimate]


class AudienceReply(BaseModel):
    """Estimates of people and addresses, from a map of people with random noise, because exact counts would show where
    a person lives: two significant digits, "<100" below 100. Each person counts once, at home or at the first place
    they have. Only the part of the area in your jurisdiction counts.
    """

    exact: bool = Field(False, description="Always false: an approval freezes the exact audience.")
    people: Estimate
    addresses: dict[str, Estimate] = Field(description="By channel; counts of 3 and more for one person count as 3.")
    regions: dict[str, Estimate] = Field(description="People by their smallest region; only regions of 100 or more.")
    rings: list[RingReply] = Field([], description="From the innermost ring; empty if the target has no rings.")


#: Description of each `eta` member.
ETA = (
    "Seconds that each channel needs at its carrier's rate, or at the slower pace that the alert asks for. It includes the carrier's ramp "
    "unless all messages are loud. Not counted: other alerts at the same time, the limits of mail domains, and SMS of several segments."
)


def repair_members(repairs: Sequence[Repair]) -> dict[str, Any]:
    """Returns the repairs of submitted shapes as two members of a reply: `repairs` (sentences) and `mended` (in
    parts).
    """
    return {
        "repairs": [f"{one.pointer}: {one.what}" for one in repairs],
        "mended": [
            RepairReply(pointer=one.pointer, code=one.code, figures=dict(one.figures), text=one.what) for one in repairs
        ],
    }


async def area_reply(s: Container, area: Area, shares: Sequence[Share], language: str) -> AreaReply:
    """Returns an area with its name in `language` (else in English), its size in km², its first 100 regions and its
    repairs.
    """
    parts = await s.targeting.parts(area, shares)
    words = s.renderer.words(matching(language, s.renderer.all_languages) or REFERENCE)
    return AreaReply(
        name=area_name(words, parts) or None,
        km2=round(area.km2, 3),
        regions=[RegionShare(code=r.code, name=r.name, share=round(r.share, 4)) for r in shares[:100]],
        **repair_members(area.repairs),
    )


def audience_reply(preview: AreaReach, target: Target, loudness: Callable[[int], Loudness | None]) -> AudienceReply:
    """Returns the estimates of people and addresses in a target as replies show them. `loudness` maps the number of a
    ring to its loudness; 0 is the area outside all rings.
    """
    delays = dict(enumerate((ring.delay_min for ring in target.rings), 1))
    return AudienceReply(
        **_counted(preview.reach.whole if preview.reach else NOBODY),
        regions=by_code(preview.reach.regions, codes(preview)) if preview.reach else {},
        rings=[
            RingReply(
                ring=number,
                loudness=loudness(number),
                delay_min=delays.get(number, 0),
                km2=round(ring.km2, 3),
                **_counted(ring.count),
            )
            for number, ring in preview.rings.items()
        ],
    )


def _counted(count: Count) -> dict[str, Any]:
    """Returns the members `people` and `addresses` (by channel), rounded as estimates are shown."""
    return {
        "people": about(count.people),
        "addresses": {
            channel: about(number) if number >= 1 else 0 for channel, number in count.addresses.items()
        },
    }  # fmt: skip


def codes(preview: AreaReach) -> dict[int, str]:
    """Returns the codes of an area's regions by the numbers that the library gave these regions."""
    return {share.number: share.code for share in preview.shares}


def eta(
    s: Container,
    audience: AudienceReply,
    asked: tuple[Target, Policy],
    channels: Collection[str],
    loudness: Iterable[Loudness | None],
) -> dict[str, float]:
    """Returns the estimated seconds of a send by channel: at the carriers' rates, or at the pace that target and policy
    (`asked`) request if that is slower. An estimate of "<100" counts as 100. The time in which a carrier's rate grows
    counts unless all messages are loud.

    The estimate ignores the limits of mail domains: alertd would have to open every record to find the domain of each
    mailbox. That takes seconds for a million people, and reveals more about them than a count of addresses does.
    """
    loud, usable = set(loudness) == {Loudness.LOUD}, s.carriers.channels.intersection(channels)
    of_ring = {ring.ring: ring.addresses for ring in audience.rings} or {REST: audience.addresses}
    slow = paced_s(
        ring_paces(*asked), {ring: sum(_most(by[one]) for one in usable & by.keys()) for ring, by in of_ring.items()}
    )
    paced = {
        channel: max((slow.get(ring, 0) for ring, by in of_ring.items() if _most(by.get(channel, 0))), default=0)
        for channel in usable
    }
    return {
        channel: round(max(s.carriers.seconds_for(channel, _most(count), loud=loud), paced[channel]), 3)
        for channel, count in audience.addresses.items()
        if channel in usable
    }


def _most(count: Estimate) -> int:
    """Returns the estimate as a number: "<100" as 100."""
    return count if isinstance(count, int) else LEAST_SHOWN
