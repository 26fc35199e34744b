"""The table of all kinds of keys in the store: content, writers and lifetime of each (`TABLE`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

#: Fields of an alert that are sealed under the master key and not under the case's key: the people who wrote an alert and decided on it
#: remain readable after the case is purged.
OF_STAFF = ("author", "hands", "approver", "by", "reviewer", "permitted_by")


@dataclass(frozen=True, slots=True)
class Strings:
    """Kind of keys that each hold one sealed value."""

    head: int = 0  # bytes before the sealed value, not encrypted
    bound: Callable[[str], str] = lambda name: name  # returns a value's associated data for its key


@dataclass(frozen=True, slots=True)
class Fields:
    """Kind of keys that are hashes with sealed fields."""

    names: tuple[str, ...] = ()  # names of the sealed fields; empty: all
    bound: Callable[[str, str], str] = lambda name, field: f"{name} {field}"


@dataclass(frozen=True, slots=True)
class Passing:
    """Kind of keys that are lists of sealed entries. Entries expire within a minute, so a rotation of the master key waits for that and
    does not seal them again.
    """


Sealed = Strings | Fields | Passing


def version_bound(name: str, field: str) -> str:
    """Returns the associated data for a sealed field of an alert's version: the version's id and the field's name, from the store key."""
    return f"{name.rpartition(':')[2]} {field}"


def media_bound(name: str, field: str) -> str:
    """Returns the associated data under which a photo's encryption key is wrapped: `name`, the photo's key in the
    store. `field` must be "key", the field with the wrapped key.
    """
    assert field == "key"
    return name


def case_bound(name: str) -> str:
    """Returns the associated data for the wrapped key of a case: the case's store key, also while the case is being purged."""
    return name.removesuffix(":dropped")


@dataclass(frozen=True, slots=True)
class KeyKind:
    """One kind of key in the store. In `name`, braces enclose the cluster's hash tag, and angle brackets enclose a part that differs from
    key to key.
    """

    name: str
    type: str
    holds: str
    writers: str  # modules of `alertd.store` and scripts (`.lua`), by their names
    ends: str
    sealed: Sealed | None = (
        None  # how it holds values that are sealed under the master key, which a rotation seals again
    )


#: Value of `ends` for a key without a lifetime. A purge of the case, or the end of the ledger's retention, removes
#: parts of an alert; an operator must delete the rest.
KEPT = "kept"
TABLE = (
    KeyKind("{a:<chain>}", "hash", "org, last version, the update that is being sent, the keys it is sent by, the organisations that may read its events, halt, pause, number and time of the restores of its store, the last time its clock gave, since when it gave it without a gap, and how many gaps there were since an update took its alert's place", "create.lua approve.lua follow.lua propose.lua approve_update.lua widen.lua halt.lua alert_pause.lua take_events.lua prelude.lua open_alerts", KEPT),
    KeyKind("{a:<chain>}:v:<id>", "hash", "a version: state, times, counts, sealed document; the permissions of neighbours, with their ground; the organisations that ask to stand it down", "create.lua amend.lua approve.lua step.lua follow.lua propose.lua approve_update.lua permit.lua widen.lua alert_pause.lua plan.lua lease.lua gate.lua finish.lua resend.lua archive.lua purge.lua alerts archive", KEPT, Fields(OF_STAFF, version_bound)),
    KeyKind("{a:<chain>}:area:<id>", "string", "the area: WKB, zlib", "create.lua amend.lua propose.lua approve_update.lua widen.lua purge.lua", KEPT),
    KeyKind("{a:<chain>}:aud:<id>", "string", "the frozen audience: sorted numbers, delta, zlib; for a target with rings, then the ring of each (1), zlib", "approve.lua approve_update.lua widen.lua", KEPT),
    KeyKind("{a:<chain>}:heard:<id>", "string", "for a later version: the people and channels that may have got an earlier one, numbers times 8 plus channel, encoded as the audience", "alerts", KEPT),
    KeyKind("{a:<chain>}:acked:<id>", "string", "for an alert that escalates: a bit for each subscriber, by number, set if they acknowledged it on a screen", "receipt.lua archive.lua", "with refs"),
    KeyKind("{a:<chain>}:refs:<id>", "string", "6 bytes a row: subscriber number (5), address number (1)", "plan.lua archive.lua", "retention.compress_days after its end: then in closed"),
    KeyKind("{a:<chain>}:ledger:<id>", "string", "16 bytes a row", "plan.lua lease.lua gate.lua receipt.lua sweep.lua put_back.lua resend.lua archive.lua", "with refs"),
    KeyKind("{a:<chain>}:closed:<id>", "string", "replaces ledger and refs of an alert that ended long ago: rows, and both by columns, zlib", "archive.lua", "retention.ledger_days after its end, if set"),
    KeyKind("{a:<chain>}:counts:<id>", "hash", "<channel>.<state> -> references", "plan.lua lease.lua gate.lua receipt.lua sweep.lua put_back.lua resend.lua", KEPT),
    KeyKind("{a:<chain>}:batches:<id>", "hash", "batch -> channel, language, format, ring, first row, rows", "plan.lua", KEPT),
    KeyKind("{a:<chain>}:ready:<channel>", "list", "<id>/<batch>: batches that no worker has leased", "plan.lua lease.lua follow.lua sweep.lua put_back.lua", "an entry when it is leased or swept"),
    KeyKind("{a:<chain>}:delayed:<channel>", "zset", "<id>/<batch>/<row> -> due ms: rows that wait; * for all rows of a batch that no worker has leased", "plan.lua lease.lua gate.lua follow.lua resend.lua put_back.lua sweep.lua", "an entry when it is leased or swept"),
    KeyKind("{a:<chain>}:parked:<channel>", "zset", "as delayed: the queued rows of an alert that is stood down, hidden from leases", "follow.lua gate.lua put_back.lua sweep.lua", "when it is reopened or has ended"),
    KeyKind("{a:<chain>}:leases", "hash", "lease -> version, batch, rows", "lease.lua gate.lua sweep.lua put_back.lua", "an entry when its work is done, its gate closes or its time is over"),
    KeyKind("{a:<chain>}:until:<channel>", "zset", "lease -> ms when it ends unless renewed", "lease.lua renew.lua gate.lua sweep.lua put_back.lua", "with the lease"),
    KeyKind("{a:<chain>}:told", "list", "occurrences that are not in the organisation's events yet: ids and codes, JSON", "prelude.lua take_events.lua", "an entry when it is in them"),
    KeyKind("{a:<chain>}:receipts", "zset", "version with late receipts that have no event yet -> ms when they get one, together", "receipt.lua take_events.lua", "an entry when the event is written"),
    KeyKind("{a:<chain>}:published", "hash", "ms from which the alert had an earlier public text -> that text, sealed", "published_history purge.lua", "when its case is purged"),
    KeyKind("{a:<chain>}:paged:<id>", "string", "the people paged about the version, the one who took it, and the time of the next pages: sealed", "page.lua", KEPT, Strings()),
    KeyKind("{c:<case>}", "string", "the key of an organisation's case, wrapped: without it the documents are gone", "case_key.lua case_drop.lua case_keys", "when the case is purged", Strings()),
    KeyKind("{c:<case>}:held", "hash", "things sealed under the case's key -> ms of the last seal", "case_key.lua case_drop.lua case_keys", "with the key"),
    KeyKind("{c:<case>}:dropped", "string", "the case's key while it is being deleted", "case_drop.lua case_keys", "when its tombstone is written", Strings(bound=case_bound)),
    KeyKind("{c:<case>}:kept", "hash", "the hold that keeps the case from being purged, sealed under its key; since when it is being purged", "case_set_hold.lua case_purging.lua case_drop.lua case_keys", "when it is released, or purged"),
    KeyKind("{f:<media>}", "hash", "a photo: org, case, wrapped key, sealed facts and sealed JPEG in each size", "media_put.lua media_attach.lua", "`media.unused_hours` after it was handed in, or 90 days after the end of the last alert that has it", Fields(("key",), media_bound)),
    KeyKind("{f:<media>}:alerts", "set", "the alerts that have it", "media_attach.lua", "when the photo would have; it outlives one that is purged"),
    KeyKind("{public:<public id>}", "string", "the name of an alert's public page -> its alert", "public_ids", KEPT),
    KeyKind("{e:<hash>}", "string", "an organisation's external id -> its alert, the time limit of the claim, and the revision that claims it", "claim_name.lua unclaim.lua external_ids", "with the alert, or when its request fails"),
    KeyKind("{s:<number // 512>}:<number>", "string", "a subscriber: version (4), sealed record", "subscribers_put.lua", "ten minutes after its number is freed: until then the version of none (4)", Strings(head=4)),
    KeyKind("{i:<hash>}", "string", "an id -> number of its subscriber (5)", "name_index", "when the subscriber is forgotten or refused"),
    KeyKind("{h:<hash>}", "string", "an address -> who claims it: number (5), address number (1), since (4), never twice (2)", "name_index", "when it is dropped, dead or refused, or its subscriber forgotten"),
    KeyKind("{h:<hash>}:dead", "string", "a mailbox reported dead -> since when, UNIX s", "suppressions", "when it is removed, or 30 days after the first report"),
    KeyKind("{t:<hash>}", "string", "an address that is on the suppression list -> since when, UNIX s; below zero where its owner cannot take it off", "suppressions unclaim.lua", "when its owner, or an operator with a reason, removes it"),
    KeyKind("{g:<z8>}:<tile>", "string", "sealed 16-byte records of the subscribers in a z12 tile", "cells_append.lua cells_replace.lua cells_compact.lua", "when the sweeper finds it empty"),
    KeyKind("{r:<region>}:<shard>", "string", "sealed 16-byte records of the subscribers who named a region", "cells_append.lua cells_replace.lua cells_compact.lua", "when the sweeper finds it empty"),
    *(
        kind
        for group in ("{g:<z8>}", "{r:<region>}")
        for kind in (
            KeyKind(f"{group}:cells", "string", "for each of its cells, in their order, the number of records, with tombstones (4)", "cells_append.lua cells_compact.lua", KEPT),
            KeyKind(f"{group}:dirty", "zset", "cell -> ms since when it has records to settle, or of the last check", "cells_append.lua cells_replace.lua cells_compact.lua", "an entry when its cell is clean"),
            KeyKind(f"{group}:gens", "hash", "cell -> number of its changes: no value comes twice", "cells_append.lua cells_replace.lua", KEPT),
        )
    ),
    KeyKind("{l:<carrier>}", "hash", "a limiter: of a carrier, of a domain (<carrier>/<domain>), of a key (key/<key id>), of requests to stand down (ask/<org>), of previews (reach/<key id>), of sign-ups (sign-up/<hash>), or of one target (reach/<key id>/<kind>/<digest>, for a day)", "take.lua give_back.lua pause.lua failed.lua resume.lua limits", "a minute or more after it is full or the pause is over"),
    KeyKind("{l:<carrier>}:bound", "string", "exists while a process is bound to an SMS centre", "heartbeats", "three seconds after the last heartbeat"),
    KeyKind("{l:<carrier>}:taking", "string", "exists while it accepts messages", "heartbeats", "fifteen seconds after the last heartbeat"),
    KeyKind("{l:<carrier>}:shares", "hash", "worker -> since when it waits for connections (ms), whether it goes last, how many it claims, whether one works, its last heartbeat (ms)", "share.lua limits", "an entry when the worker ends, or is silent for three seconds"),
    KeyKind("{l:<carrier>}:logins", "hash", "worker -> since when it finds this (ms), its last heartbeat (ms), whether it can log in at the carrier, and why not", "login.lua", "an entry when its worker ends, or when another writes a minute after the last heartbeat"),
    KeyKind("{l:<channel>}:at-work", "string", "exists while a worker sends on this channel", "heartbeats", "ten seconds after the last heartbeat"),
    KeyKind("{n:<hash>}", "string", "a carrier's id of a message -> its tag, its number of parts and its try; or that it has no owner; or an early receipt that waits for its message", "message_id.lua", "a day after the message's validity; an early receipt after five minutes"),
    KeyKind("{n:<hash>}:parts", "set", "one try of a message -> ids of its delivered parts", "message_ids", "a day after the last"),
    KeyKind("{k:<key id>}", "string", "an API key, its secret hashed", "api_keys replace.lua", "when it is revoked", Strings()),
    KeyKind("{k:<key id>}:used", "string", "ms it was last used, to a minute", "api_keys", "with the key, or after 400 days without use"),
    KeyKind("{o:<org>}:keys", "set", "ids of its API keys", "api_keys", "an entry with its key"),
    KeyKind("{o:<org>}:record", "string", "the organisation: name, jurisdiction, alerts that need no second person; sealed", "organisations replace.lua", KEPT, Strings()),
    KeyKind("{o:<org>}:operators", "hash", "operator -> name, roles, passkeys, identities, one-time code hashed: sealed", "operators exchange.lua", "an entry when the operator is removed", Fields()),
    KeyKind("{q:<hash>}", "string", "a one-time code of an operator -> its organisation and operator", "operators", "an hour after it was made, or as sign_in.code_minutes says"),
    KeyKind("{w:<hash>}", "string", "a session of an operator: organisation, operator, passkey or identity, times", "sessions", "when its operator signs out, does nothing for a while, or it has lasted long enough"),
    KeyKind("{w:<hash>}:proof", "string", "when the operator last proved to be there, ms", "sessions", "after five minutes"),
    KeyKind("{y:<hash>}", "string", "a challenge for a passkey to sign, and its purpose", "sessions", "when it is answered, or after five minutes"),
    KeyKind("{z:<hash>}", "string", "a person sent to the OpenID provider: the state they must return with, and its purpose, sealed", "sessions", "when they come back, or after ten minutes", Strings()),
    KeyKind("{j:<hash>}", "hash", "the number of failed sign-ins, and until when the next must wait", "sessions tries.lua", "when they have signed in, or an hour after the last try"),
    KeyKind("{o:<org>}:unattended", "zset", "alert that went out without a second person -> ms it did", "allow.lua", "an hour after the last"),
    KeyKind("{o:<org>}:glass", "hash", "operator who approved alone, or tried to -> alert, its revision and the try, one a line", "break_glass exchange.lua", "a line after another person's review, or if the approval failed"),
    KeyKind("{o:<org>}:spent:<what>", "hash", "SMS segments sent for an alert (its chain) or on a day (since 1970), if there is a limit; whether it may exceed the limit", "spend.lua limits", "a day after three, an alert after 400 days without an SMS"),
    KeyKind("{o:<org>}:oncall", "string", "the rota with its people's addresses: sealed", "paging replace.lua", KEPT, Strings()),
    KeyKind("{o:<org>}:texts", "hash", "revision -> all own texts of the organisation, sealed", "texts_add.lua", KEPT, Fields()),
    KeyKind("{u:<org>}", "stream", "the organisation's audit: number -> time, link, entry, sealed", "audit.lua", KEPT),
    KeyKind("{v:<org>}", "stream", "the organisation's events: number -> time of arrival, ids and codes as JSON", "prelude.lua events.lua", "an entry when it is too old, or there are too many"),
    KeyKind("{v:<org>}:marks", "hash", "number of the last event; time of the last restore; announced chain -> number of its last event here", "prelude.lua events.lua events", "an entry with the announcement"),
    KeyKind("{v:<org>}:hooks", "hash", "webhook -> URL, signing keys, events: sealed", "webhooks exchange.lua", "an entry with its webhook", Fields()),
    KeyKind("{v:<org>}:distributors", "hash", "distributor -> the same, with its alerts and their form: sealed", "webhooks exchange.lua free_distributor.lua", "an entry with its distributor", Fields()),
    KeyKind("{v:<org>}:distribution:<chain>", "hash", "distributor -> the alert's messages to it, by their CAP names, with their outcomes; the words of a refusal sealed under the case's key", "webhooks track.lua", KEPT),
    KeyKind("{v:<org>}:holders", "hash", "distributor and chain -> ms since when an unconfirmed take-down is due, 0 while none is", "webhooks track.lua", "an entry when it confirms, or the alert ends by its own end time"),
    KeyKind("{v:<org>}:hook:<webhook>", "hash", "its last delivered event, since when it fails, whether it is off; number of the turns that queued something; number of the changes of its address", "prelude.lua webhooks hook_queue.lua hook_settle.lua free_distributor.lua", "with the webhook"),
    KeyKind("{v:<org>}:queue:<webhook>", "zset", "waiting event or alert -> ms it is due", "prelude.lua webhooks hook_settle.lua", "an entry when it is delivered or given up"),
    KeyKind("{v:<org>}:tries:<webhook>", "hash", "waiting event or alert -> number of tries, time of the first, and the turn that queued it", "prelude.lua webhooks hook_settle.lua", "with its entry of the queue"),
    KeyKind("{v:<org>}:given-up:<webhook>", "zset", "undelivered event or alert -> ms when alertd gave up", "prelude.lua webhooks hook_settle.lua", "an entry when it is sent again, or after a thousand later ones"),
    KeyKind("{o:<org>}:alerts", "zset", "alert -> ms it was made", "alerts", KEPT),
    KeyKind("{o:<org>}:asked", "zset", "a neighbour's alert (its chain) with a request for this organisation's permission -> ms of the request", "later_versions", "an entry when its alert is purged, or a thousand came later"),
    KeyKind("{o:<org>}:media", "zset", "photo without an alert -> ms of its deletion", "photos", "an entry when an alert has it, or it is deleted"),
    KeyKind("{p:<key id>:<hash>}", "hash", "an Idempotency-Key: HMAC of the request's digest, id, status", "idempotency idempotency.lua", "after a day, or when the request was refused"),
    KeyKind("{x:<shard>}:live", "hash", "chains with work to do -> number of announcements", "alerts retire.lua", "an entry when the work is done"),
    KeyKind("{x:<shard>}:told", "zset", "chains with possible new occurrences -> ms of the next check; 0 before the first check", "alerts events schedule_reads.lua due_told.lua", "an entry when its occurrences are in the events"),
    KeyKind("{x:<shard>}:expiry", "zset", "alert -> ms it expires", "alerts schedule", "an entry when it has expired"),
    KeyKind("{x:<shard>}:waiting", "zset", "version that waits for its second person, or for an answer to a stand-down request -> ms of the next pages", "paging", "an entry when its paging ends"),
    KeyKind("{x:<shard>}:starts", "zset", "approved alert with a later start -> ms of the start", "schedule", "an entry when it has started or was called off"),
    KeyKind("{m}:schema", "string", "version of the stored format", "schema", KEPT),
    KeyKind("{m}:key-check", "string", "check value of the current master key; refuses other keys", "schema keys_rotate.lua", KEPT),
    KeyKind("{m}:cell-key", "string", "the key that seals the records of the cells, wrapped under the master key", "schema reseal.lua", KEPT, Strings()),
    KeyKind("{m}:rotation", "hash", "the last rotation of the master key: the names of both keys, its phase, its times, how far it is", "keys_rotate.lua state", KEPT),
    KeyKind("{m}:processes", "hash", "process -> its last heartbeat (ms), and the master keys it holds, the one it seals with first", "keys_beat.lua", "an entry when the process ends, or is silent for ten seconds"),
    KeyKind("{m}:seals", "hash", "master or audit, and the name of the key -> how often it sealed", "keys_beat.lua state", "an entry when the key is rotated away"),
    KeyKind("{m}:secrets", "hash", "the audit's keys derived from earlier master keys, the name keys and the hashing secrets: sealed", "state reseal.lua", KEPT, Fields()),
    KeyKind("{m}:rotator", "string", "the process that rotates keys at the moment", "process_lease.lua", "after its lease, unless renewed"),
    KeyKind("{m}:sandbox", "string", "1 for a store for trials", "schema", KEPT),
    KeyKind("{m}:clock", "hash", "the steady clock, for waits that belong to no chain: the last time it gave, how far it is ahead of the server's, and since when it gave it without a gap", "clock hear.lua prelude.lua", KEPT),
    KeyKind("{m}:counters", "hash", "last subscriber, carrier and drawn region numbers, living subscribers, changes of drawn regions, the time of an app's acknowledgement", "subscribers numbers draw.lua delete_drawing.lua acknowledgements", KEPT),
    KeyKind("{m}:purges", "hash", "purged cases; purged cases before the last rewrite of the append-only file", "case_keys aof_rewrite", KEPT),
    KeyKind("{m}:organisations", "set", "organisations with any record", "organisations", KEPT),
    KeyKind("{m}:stops", "hash", "generation; scope -> the stop, sealed", "stop.lua", "an entry when two people lifted it", Fields()),
    KeyKind("{m}:labels", "string", "fingerprint of the regions that label the subscribers' places", "subscribers", KEPT),
    KeyKind("{m}:numbers", "hash", "number -> code of an imported region, the same on every machine", "custom_regions", KEPT),
    KeyKind("{b:<import>}", "string", "an import of regions: how far it is, its report", "region_imports", "after a week"),
    KeyKind("{m}:carrier-tests", "list", "tests of carriers that wait for a worker: sealed, because each has an address", "tests", "an entry when a worker takes it, all a minute after the last came", Passing()),
    KeyKind("{m}:sign-ups", "list", "mails of sign-up that wait for a worker: sealed, because each has an address", "sign_up_queue", "an entry when a worker takes it, all a minute after the last came", Passing()),
    KeyKind("{d:<test>}", "string", "what a carrier answered to a test", "tests", "after a day"),
    KeyKind("{m}:drawn", "hash", "code -> number, revision, organisation, document of a drawn region", "draw.lua delete_drawing.lua", KEPT),
    KeyKind("{m}:carriers", "hash", "name -> byte in ledgers", "numbers", KEPT),
    KeyKind("{m}:z8", "string", "bitmap of the z8 ancestors that ever had a tile", "subscribers", KEPT),
    KeyKind("{m}:regions", "set", "numbers of the regions that a subscriber ever named", "subscribers", KEPT),
    KeyKind("{m}:passkeys", "hash", "hash of a passkey -> organisation and operator", "operators", "an entry when the passkey is replaced or the operator removed"),
    KeyKind("{m}:identities", "hash", "hash of a person's identity at the OpenID provider -> organisation and operator", "operators", "an entry when the operator signs in with a replacing code, or is removed"),
    KeyKind("{m}:herald", "string", "the process that publishes events and sends webhooks at the moment", "process_lease.lua", "after its lease, unless renewed"),
    KeyKind("{m}:hooked", "set", "organisations that have or had webhooks or distributors", "webhooks", KEPT),
    KeyKind("{m:<number>}:ready", "string", "the last check that the server accepts writes; one on each server", "ready.lua connection", "a minute after the last check"),
    KeyKind("{m}:sweeper", "string", "the process that sweeps at the moment", "process_lease.lua", "after its lease, unless renewed"),
)  # fmt: skip
