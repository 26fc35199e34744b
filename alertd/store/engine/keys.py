"""The names of the store's keys. Scripts get the same names from here. `key_table` says what is under each."""

from __future__ import annotations

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

SCHEMA = "{m}:schema"
CLOCK = "{m}:clock"
COUNTERS = "{m}:counters"
KEY_CHECK = "{m}:key-check"
CELL_KEY = "{m}:cell-key"
SANDBOX = "{m}:sandbox"
CARRIERS = "{m}:carriers"
CARRIER_TESTS = "{m}:carrier-tests"
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


@dataclass(frozen=True, slots=True)
class Cell:
    """Where records of the same tile or of the same region are kept."""

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
        """Where among the counts of its group's cells its own is, in bytes."""
        return (self.member - first_member(self.group)) * COUNT_BYTES

    @property
    def dirty(self) -> str:
        return dirty(self.group)

    @property
    def gens(self) -> str:
        return f"{{{self.group}}}:gens"


def absent(beside: str) -> str:
    """In the slot of a key, and nowhere in the table: nothing is ever kept there."""
    return f"{beside[: beside.index('}') + 1]}:absent"


def ready(number: int) -> str:
    """Where is written, on a server that holds it, to see whether that is possible."""
    return f"{{m:{number}}}:ready"


def cells(group: str) -> str:
    """How many records each cell of a group has: COUNT_BYTES each, from `first_member` on."""
    return f"{{{group}}}:cells"


COUNT_BYTES = 4


def first_member(group: str) -> int:
    """The first cell that a group can have."""
    kind, _, number = group.partition(":")
    return int(number) << ANCESTOR_SHIFT if kind == "g" else 0


def dirty(group: str) -> str:
    """The cells of a group that have something to settle."""
    return f"{{{group}}}:dirty"


def tile_cell(tile: int) -> Cell:
    """The cell of a z12 tile; its group is the z8 ancestor."""
    return Cell(f"g:{tile >> ANCESTOR_SHIFT}", tile)


REGION_SHARD_BITS = 14  # 16,384 subscribers' numbers a shard: 256 kB when all of them belong to the region


def region_cell(region: int, subscriber: int) -> Cell:
    """The cell of a subscriber who named a region instead of a point."""
    return Cell(f"r:{region}", subscriber >> REGION_SHARD_BITS)


def chain(chain_id: str) -> str:
    return f"{{a:{chain_id}}}"


def of_chain(chain_id: str, part: str, name: str = "") -> str:
    """A key of a chain: `of_chain(chain, "ledger", alert_id)`."""
    return f"{{a:{chain_id}}}{CHAIN_SUFFIXES[part]}{name}"


def case(case_id: str) -> str:
    return f"{{c:{case_id}}}"


def case_held(case_id: str) -> str:
    return f"{{c:{case_id}}}:held"


def case_dropped(case_id: str) -> str:
    return f"{{c:{case_id}}}:dropped"


def case_kept(case_id: str) -> str:
    return f"{{c:{case_id}}}:kept"


def media(media_id: str) -> str:
    return f"{{f:{media_id}}}"


def media_alerts(media_id: str) -> str:
    return f"{{f:{media_id}}}:alerts"


def external_id(hashed: str) -> str:
    return f"{{e:{hashed}}}"


def subscriber(number: int) -> str:
    return f"{{s:{number // SUBSCRIBERS_PER_TAG}}}:{number}"


def subscriber_id(hashed: str) -> str:
    return f"{{i:{hashed}}}"


def address(hashed: str) -> str:
    return f"{{h:{hashed}}}"


def called_dead(hashed: str) -> str:
    return f"{{h:{hashed}}}:dead"


def suppression(hashed: str) -> str:
    return f"{{t:{hashed}}}"


def limiter(carrier: str) -> str:
    return f"{{l:{carrier}}}"


def bound(carrier: str) -> str:
    return f"{{l:{carrier}}}:bound"


def taking(carrier: str) -> str:
    return f"{{l:{carrier}}}:taking"


def shares(carrier: str) -> str:
    return f"{{l:{carrier}}}:shares"


def logins(carrier: str) -> str:
    return f"{{l:{carrier}}}:logins"


def at_work(channel: str) -> str:
    return f"{{l:{channel}}}:at-work"


def message_id(hashed: str) -> str:
    return f"{{n:{hashed}}}"


def message_parts(hashed: str) -> str:
    return f"{{n:{hashed}}}:parts"


def api_key(key_id: str) -> str:
    return f"{{k:{key_id}}}"


def api_key_used(key_id: str) -> str:
    return f"{{k:{key_id}}}:used"


def sign_in_code(digest: str) -> str:
    return f"{{q:{digest}}}"


def session(digest: str) -> str:
    return f"{{w:{digest}}}"


def session_proof(digest: str) -> str:
    return f"{{w:{digest}}}:proof"


def challenge(digest: str) -> str:
    return f"{{y:{digest}}}"


def sent_away(digest: str) -> str:
    return f"{{z:{digest}}}"


def tries(hashed: str) -> str:
    return f"{{j:{hashed}}}"


def org(name: str, part: str) -> str:
    return f"{{o:{name}}}:{part}"


def org_spent(name: str, what: str) -> str:
    return f"{{o:{name}}}:spent:{what}"


def org_audit(name: str) -> str:
    return f"{{u:{name}}}"


def org_events(name: str, part: str = "") -> str:
    return f"{{v:{name}}}{part}"


def carrier_test(test_id: str) -> str:
    return f"{{d:{test_id}}}"


def regions_import(import_id: str) -> str:
    return f"{{b:{import_id}}}"


def idempotency(key_id: str, hashed: str) -> str:
    return f"{{p:{key_id}:{hashed}}}"


def shard_of(chain_id: str) -> int:
    """The last characters of a ULID are random."""
    return sum(chain_id[-2:].encode()) % SHARDS


def live(shard: int) -> str:
    return f"{{x:{shard}}}:live"


def told_key(shard: int) -> str:
    return f"{{x:{shard}}}:told"


def starts(shard: int) -> str:
    return f"{{x:{shard}}}:starts"


def expiry(shard: int) -> str:
    return f"{{x:{shard}}}:expiry"


def waiting(shard: int) -> str:
    return f"{{x:{shard}}}:waiting"
