"""What the owner of one address may see and change: the whole record of a person who signed up alone, else the address.

An organisation can register a household, with places and addresses of several people. One mailbox of it must neither
reveal nor change those.
"""

from __future__ import annotations

from dataclasses import dataclass

from alertd.model.subscriber import Address, AddressState, Subscriber

#: The ids of subscribers who signed up themselves begin with this.
SIGNED_UP = "web-"


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnRecord:
    """A subscriber's record, as the owner of one of its addresses opens it."""

    person: Subscriber
    address: Address

    @property
    def is_whole(self) -> bool:
        """Returns whether the whole record belongs to the owner of the address."""
        return is_alone(self.person)

    @property
    def is_on(self) -> bool:
        """Returns whether alerts are sent to the address."""
        return self.address.state == AddressState.ACTIVE and self.person.kinds != 0


def is_alone(person: Subscriber) -> bool:
    """Returns whether a subscriber signed up on the public pages, and the record has no second address."""
    return person.id.startswith(SIGNED_UP) and len(person.addresses) == 1
