"""Every key of the store: its hash tag, who owns it and when it ends. Scripts get the same names from here.

{a:<chain>}...      everything of one alert and its later versions; ends with the chain's retention
  (bare)            hash   halt, clock, org, versions
  :v:<id>           hash   one version: state, times, counts seen, sealed document
  :area:<id>        string WKB of the area
  :aud:<id>         string the frozen audience (sorted numbers: delta, zlib)
  :refs:<id>        string 6 bytes a row: subscriber number (5), address number (1)
  :ledger:<id>      string 16 bytes a row
  :counts:<id>      hash   <channel>.<state> -> references
  :batches:<id>     hash   batch -> channel, language, format, ring, first row, rows
  :ready:<channel>  list   batches nobody has yet
  :delayed:<channel> zset  <id>/<batch>/<row> -> due ms: tries that wait
  :leases           hash   lease -> version, batch, rows
  :until:<channel>  zset   lease -> ms it ends without a sign of life
{c:<case>}          string the case's key, wrapped; destroying it is purging
{s:<n // 512>}:<n>  string one subscriber: version (4 bytes), sealed record
{i:<hash>}          string subscriber id -> number
{h:<hash>}          string address -> who claims it: number (5), address number (1), since (4)
{g:<z8>} {r:<region>}   the cells of tiles and of region places
  :<cell>           string 16-byte records
  :cells            hash   cell -> records in it, tombstones too
  :dirty            zset   cell -> ms since when it holds records to settle, or was last compacted with some left
  :gens             hash   cell -> times it was added to or marked since it was clean
{l:<carrier>}       hash   the carrier's limiter
{k:<key id>}        hash   an API key; {o:<org>}:... lists of an organisation
{x:<shard>}:live    set    chains with work to do; :expiry zset alert -> ms
{m}...              schema, counters, master key check, bitmap of z8 ancestors in use, set of regions in use, sweeper's lease
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

#: Per-chain key suffixes, shared with the scripts: `K.ledger` in Lua is `CHAIN_SUFFIXES["ledger"]` here.
CHAIN_SUFFIXES = {
    "version": ":v:",
    "area": ":area:",
    "audience": ":aud:",
    "refs": ":refs:",
    "ledger": ":ledger:",
    "counts": ":counts:",
    "batches": ":batches:",
    "ready": ":ready:",
    "delayed": ":delayed:",
    "leases": ":leases",
    "until": ":until:",
}

SHARDS = 16  # of the sets of live chains and expiries: enough to spread a cluster, few enough to poll in one pipeline
SUBSCRIBERS_PER_TAG = 512  # contiguous numbers share a slot, so a sorted batch touches few

SCHEMA = "{m}:schema"
COUNTERS = "{m}:counters"
KEY_CHECK = "{m}:key-check"
CARRIERS = "{m}:carriers"
TILE_GROUPS = "{m}:z8"
REGION_GROUPS = "{m}:regions"
SWEEPER = "{m}:sweeper"


@dataclass(frozen=True, slots=True)
class Cell:
    """Where records of the same tile or of the same region are kept."""

    group: str  # "g:<z8>" or "r:<region number>"
    member: int  # z12 tile code, or shard

    @property
    def tag(self) -> str:
        return f"{{{self.group}}}"

    @property
    def key(self) -> str:
        return f"{{{self.group}}}:{self.member}"

    @property
    def cells(self) -> str:
        return f"{{{self.group}}}:cells"

    @property
    def dirty(self) -> str:
        return f"{{{self.group}}}:dirty"

    @property
    def gens(self) -> str:
        return f"{{{self.group}}}:gens"


def tile_cell(tile: int) -> Cell:
    """The cell of a z12 tile; its group is the z8 ancestor."""
    return Cell(f"g:{tile >> 8}", tile)


def tile_keys(tiles: Iterable[int]) -> list[str]:
    """`tile_cell(tile).key` of each: a country has thousands of tiles, and four fifths of the time would go into the objects."""
    return [f"{{g:{tile >> 8}}}:{tile}" for tile in tiles]


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


def subscriber(number: int) -> str:
    return f"{{s:{number // SUBSCRIBERS_PER_TAG}}}:{number}"


def subscriber_id(hashed: str) -> str:
    return f"{{i:{hashed}}}"


def address(hashed: str) -> str:
    return f"{{h:{hashed}}}"


def limiter(carrier: str) -> str:
    return f"{{l:{carrier}}}"


def api_key(key_id: str) -> str:
    return f"{{k:{key_id}}}"


def org(name: str, part: str) -> str:
    return f"{{o:{name}}}:{part}"


def idempotency(key_id: str, hashed: str) -> str:
    return f"{{p:{key_id}:{hashed}}}"


def shard_of(chain_id: str) -> int:
    """The last characters of a ULID are random."""
    return sum(chain_id[-2:].encode()) % SHARDS


def live(shard: int) -> str:
    return f"{{x:{shard}}}:live"


def expiry(shard: int) -> str:
    return f"{{x:{shard}}}:expiry"
