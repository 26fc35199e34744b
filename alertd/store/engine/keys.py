"""The names of the store's keys. Scripts get the same names from here. `key_table` describes the content of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from geofences.tiles import ANCESTOR_SHIFT

#: Per-chain key suffixes, shared with the scripts: `K.ledger` in Lua is `CHAIN_SUFFIXES["ledger"]` here.
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


SHARDS = 16  # of the sets of live chains and expiries: enough to spread a cluster, few enough to poll in one pipeline
SUBSCRIBERS_PER_TAG = 512  # contiguous numbers share a slot, so a sorted batch touches few
REGION_SHARD_BITS = 14  # 16,384 subscribers' numbers a shard: 256 kB when all of them belong to the region
COUNT_BYTES = 4  # of the number of a cell's records

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
#: Key of the record counts of a group's cells: COUNT_BYTES for each cell, beginning with the cell `first_member`.
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
    """Address of the records of one tile, or of one shard of a region's subscribers."""

    group: str  # "g:<z8>" or "r:<region number>"
    member: int  # z12 tile code, or shard

    @property
    def key(self) -> str:
        return f"{{{self.group}}}:{self.member}"

    @property
    def cells(self) -> str:
        return cells(self.group)

    @property
    def count_at(self) -> int:
        """Returns the offset, in bytes, of this cell's record count among the counts of its group."""
        return (self.member - first_member(self.group)) * COUNT_BYTES

    @property
    def dirty(self) -> str:
        return dirty(self.group)

    @property
    def gens(self) -> str:
        return f"{{{self.group}}}:gens"


def absent(beside: str) -> str:
    """Returns a key in the same cluster slot as `beside` that never exists."""
    return f"{beside[: beside.index('}') + 1]}:absent"


def first_member(group: str) -> int:
    """Returns the number of the first cell that a group can have: a z12 tile code, or shard 0."""
    kind, _, number = group.partition(":")
    return int(number) << ANCESTOR_SHIFT if kind == "g" else 0


def tile_cell(tile: int) -> Cell:
    """Returns the cell of a z12 tile. Its group is the tile's z8 ancestor."""
    return Cell(f"g:{tile >> ANCESTOR_SHIFT}", tile)


def region_cell(region: int, subscriber: int) -> Cell:
    """Returns the cell for a subscriber (by number) who named a region instead of a point."""
    return Cell(f"r:{region}", subscriber >> REGION_SHARD_BITS)


def of_chain(chain_id: str, part: str, name: str = "") -> str:
    """Returns a key of a chain. `part` is a name in CHAIN_SUFFIXES, `name` an alert id or channel: `of_chain(chain, "ledger", alert_id)`."""
    return f"{{a:{chain_id}}}{CHAIN_SUFFIXES[part]}{name}"


def subscriber(number: int) -> str:
    return f"{{s:{number // SUBSCRIBERS_PER_TAG}}}:{number}"


def org_events(name: str, part: str = "") -> str:
    return f"{{v:{name}}}{part}"


def shard_of(chain_id: str) -> int:
    """Returns the shard (0 to SHARDS - 1) of a chain, from the last two characters of its ULID, which are random."""
    return sum(chain_id[-2:].encode()) % SHARDS
