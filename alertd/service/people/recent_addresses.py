"""Addresses of the subscribers who registered last, as a sample of a channel's addresses."""

from __future__ import annotations

from alertd.model.states import CHANNELS
from alertd.model.subscriber import AddressState
from alertd.store.people.subscribers import People

#: Maximum number of subscriber numbers to read at once, and of such reads.
LOOK, LOOKS = 200, 50
#: Number of addresses after which no more subscribers are read.
ENOUGH = 100


async def recent_addresses(people: People, channel: str) -> list[str]:
    """Returns active addresses of a channel, of the last 10,000 subscribers or fewer. Raises StoreUnavailableError."""
    found, number, end = list[str](), CHANNELS.index(channel), await people.last()
    for _ in range(LOOKS):
        first = max(1, end - LOOK + 1)
        for person in await people.get_many(range(first, end + 1)):
            addresses = person.addresses if person else ()
            found += [one.value for one in addresses if (one.channel, one.state) == (number, AddressState.ACTIVE)]
        end = first - 1
        if end < 1 or len(found) >= ENOUGH:
            break
    return found
