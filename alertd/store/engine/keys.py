"""The names of the store's keys. Scripts get the same names from here. `key_table` describes the content of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from geofences.tiles import ANCESTOR_SHIFT

#: Suffixes of the store keys of one alert (chain), shared with the scripts: `K.ledger` in Lua is `CHAIN_SUFFIXES["ledger"]` here.
CHAIN_SUFFIXES = {
    "version": ":v:",
    "area": ":area:",
    "audience": ":aud:",
    "heard": ":heard:",
    "acked": ":acked:",
    "closed": ":closed:",
    "refs": ":refs:",
    "ledger": ":ledger:",
    "counts": ":counts:",
    "batches": ":batches:",
    "ready": ":ready:",
    "delayed": ":delayed:",
    "parked": ":parked:",
    "leases": ":leases",
    "until": ":until:",
    "told": ":told",
    "receipts": ":receipts",
    "published": ":published",
    "paged": ":paged:",
}


SHARDS = 16  # number of the sets of active alerts and of expiries: enough to spread a cluster, few enough to poll in one pipeline
SUBSCRIBERS_PER_TAG = 512  # contiguous numbers share a slot, so a sorted batch touches few
REGION_SHARD_BITS = 14  # 16,384 subscribers' numbers a shard: 256 kB when all of them belong to the region
COUNT_BYTES = 4  # bytes of the number of records of one cell

SCHEMA = "{m}:schema"
CLOCK = "{m}:clock"
COUNTERS = "{m}:counters"
KEY_CHECK = "{m}:key-check"
CELL_KEY = "{m}:cell-key"
SANDBOX = "{m}:sandbox"
CARRIERS = "{m}:carriers"
CARRIER_TESTS = "{m}:carrier-tests"
SIGN_UPS = "{m}:sign-ups"
DRAWN = "{m}:drawn"
LABELS = "{m}:labels"
NUMBERS = "{m}:numbers"
TILE_GROUPS = "{m}:z8"
REGION_GROUPS = "{m}:regions"
SWEEPER = "{m}:sweeper"
ROTATION = "{m}:rotation"
PROCESSES = "{m}:processes"
SEALS = "{m}:seals"
SECRETS = "{m}:secrets"
ROTATOR = "{m}:rotator"
HERALD = "{m}:herald"
HOOKED = "{m}:hooked"
STOPS = "{m}:stops"
ORGANISATIONS = "{m}:organisations"
PURGES = "{m}:purges"
PASSKEYS = "{m}:passkeys"
IDENTITIES = "{m}:identities"

#: Types of functions that return a key, from one name, from one number, or from two names.
Named = Callable[[str], str]
Numbered = Callable[[int], str]
Paired = Callable[[str, str], str]

#: Key of the test write that shows whether a server accepts writes.
ready: Numbered = "{{m:{}}}:ready".format
#: Key of the numbers of records of a group's cells: COUNT_BYTES for each cell, beginning with the cell `first_member`.
cells: Named = "{{{}}}:cells".format
#: Key of the set of a group's cells that the sweeper has to settle.
dirty: Named = "{{{}}}:dirty".format
chain: Named = "{{a:{}}}".format
case: Named = "{{c:{}}}".format
case_held: Named = "{{c:{}}}:held".format
case_dropped: Named = "{{c:{}}}:dropped".format
case_kept: Named = "{{c:{}}}:kept".format
media: Named = "{{f:{}}}".format
media_alerts: Named = "{{f:{}}}:alerts".format
public: Named = "{{public:{}}}".format
external_id: Named = "{{e:{}}}".format
subscriber_id: Named = "{{i:{}}}".format
address: Named = "{{h:{}}}".format
called_dead: Named = "{{h:{}}}:dead".format
suppression: Named = "{{t:{}}}".format
limiter: Named = "{{l:{}}}".format
bound: Named = "{{l:{}}}:bound".format
taking: Named = "{{l:{}}}:taking".format
shares: Named = "{{l:{}}}:shares".format
logins: Named = "{{l:{}}}:logins".format
at_work: Named = "{{l:{}}}:at-work".format
message_id: Named = "{{n:{}}}".format
message_parts: Named = "{{n:{}}}:parts".format
api_key: Named = "{{k:{}}}".format
api_key_used: Named = "{{k:{}}}:used".format
sign_in_code: Named = "{{q:{}}}".format
session: Named = "{{w:{}}}".format
session_proof: Named = "{{w:{}}}:proof".format
challenge: Named = "{{y:{}}}".format
sent_away: Named = "{{z:{}}}".format
tries: Named = "{{j:{}}}".format
org: Paired = "{{o:{}}}:{}".format
org_spent: Paired = "{{o:{}}}:spent:{}".format
org_audit: Named = "{{u:{}}}".format
carrier_test: Named = "{{d:{}}}".format
regions_import: Named = "{{b:{}}}".format
idempotency: Paired = "{{p:{}:{}}}".format
live: Numbered = "{{x:{}}}:live".format
told_key: Numbered = "{{x:{}}}:told".format
starts: Numbered = "{{x:{}}}:starts".format
expiry: Numbered = "{{x:{}}}:expiry".format
waiting: Numbered = "{{x:{}}}:waiting".format


@dataclass(frozen=True, slots=True)
class Cell:
    """Address of one cell: the records of one z12 tile, or of one shard of the subscribers who named a region."""

    group: str  # "g:<z8>" or "r:<region number>"
    member: int  # z12 tile code, or shard

    @property
    def key(self) -> str:
        """Returns the store key of the cell's records."""
        return f"{{{self.group}}}:{self.member}"

    @property
    def cells(self) -> str:
        """Returns the store key of the numbers of records of the group's cells."""
        return cells(self.group)

    @property
    def count_at(self) -> int:
        """Returns the offset (bytes) at which the group's counts have the number of this cell's records."""
        return (self.member - first_member(self.group)) * COUNT_BYTES

    @property
    def dirty(self) -> str:
        """Returns the store key of the set of the group's cells that the sweeper has to settle."""
        return dirty(self.group)

    @property
    def gens(self) -> str:
        """Returns the store key of the generations of the group's cells. A cell's generation changes when a record is added, marked as left
        or relabelled.
        """
        return f"{{{self.group}}}:gens"


def absent(beside: str) -> str:
    """Returns a key that never exists, in the same cluster slot as the key `beside`."""
    return f"{beside[: beside.index('}') + 1]}:absent"


def first_member(group: str) -> int:
    """Returns the number of the first cell that a group of cells can have: a z12 tile code for the group of a z8 tile, shard 0 for that of
    a region.
    """
    kind, _, number = group.partition(":")
    return int(number) << ANCESTOR_SHIFT if kind == "g" else 0


def tile_cell(tile: int) -> Cell:
    """Returns the cell that holds the records of a z12 tile. It belongs to the group of the tile's z8 ancestor."""
    return Cell(f"g:{tile >> ANCESTOR_SHIFT}", tile)


def region_cell(region: int, subscriber: int) -> Cell:
    """Returns the cell that holds the record of a subscriber (by number) who named this region (by number) instead of a point."""
    return Cell(f"r:{region}", subscriber >> REGION_SHARD_BITS)


def of_chain(chain_id: str, part: str, name: str = "") -> str:
    """Returns a store key of an alert (`chain_id`: id of its first version). `part` is a name in CHAIN_SUFFIXES, `name` the id of a version
    or a channel: `of_chain(chain, "ledger", alert_id)`.
    """
    return f"{{a:{chain_id}}}{CHAIN_SUFFIXES[part]}{name}"


def subscriber(number: int) -> str:
    """Returns the store key of the record of the subscriber with this number."""
    return f"{{s:{number // SUBSCRIBERS_PER_TAG}}}:{number}"


def org_events(name: str, part: str = "") -> str:
    """Returns the store key of an organisation's events, or of something stored beside them (`part`)."""
    return f"{{v:{name}}}{part}"


def shard_of(chain_id: str) -> int:
    """Returns the shard (0 to SHARDS - 1) of an alert, from the last two characters of its id, which are random."""
    return sum(chain_id[-2:].encode()) % SHARDS
