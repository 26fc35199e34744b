"""The checks of `alertd check`: what would keep the service from starting or sending. Does not start the service."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.exceptions import RedisError

from alertd.commands.installation import carrier_logins
from alertd.common.clock import SystemClock
from alertd.common.errors import ConfigError
from alertd.config.carriers import AnyCarrier, SmtpCarrier, TwilioCarrier
from alertd.config.sections import StoreSection
from alertd.config.settings import Settings
from alertd.model.oncall import OnCall, anybody
from alertd.model.organisation import Organisation
from alertd.runtime.assembly import library_of
from alertd.runtime.carrier_factory import carrier_of
from alertd.runtime.installation import Store, running_store, shared_store
from alertd.runtime.processes import StartError
from alertd.service.carriers.carriers import Carrier
from alertd.service.carriers.states import cause_of_login, why_not_known
from alertd.service.organisations.oidc_provider import OidcProvider, ProviderFault, guarded
from alertd.service.organisations.passkeys import RelyingParty
from alertd.service.people.place_labels import MOST_TOLD, regions_gone
from alertd.store.embedded.server import ServerNotFoundError, find_server
from alertd.store.embedded.space import free_bytes
from alertd.store.engine import keys
from alertd.store.engine.capabilities import check_engine
from alertd.store.engine.clock import StoreClock
from alertd.store.engine.codec import MOST_SEALS, Codec, SealError
from alertd.store.engine.connection import Connection, StoreRefusedError, StoreUnavailableError
from alertd.store.master_key.schema import check_store, load_cell_key, load_secrets
from alertd.store.master_key.state import MasterKeys
from alertd.store.organisations.organisations import OrganisationStore
from alertd.store.organisations.paging import Rotas
from alertd.store.people.subscribers import People
from alertd.store.sharing.webhooks import DistributorHook, Hooks, Tracks
from channels.login import Login, LoginState
from geofences.regions import Library

_MB = 1024 * 1024
OWN_KEYS = "store.master_key and store.hash_key are not used: without store.url the keys are those in store.directory, beside the data"
ANSWER_S = 5.0  # seconds; a slower store is too slow to send alerts


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check."""

    part: str
    ok: bool  # False: a fault, with which the service would not start or not work
    says: str
    warns: bool = False  # no fault, but the operator should know this


def inspected(
    settings: Settings, config_file: Path | None, regions: Callable[[Settings], Library] = library_of, *,
    contact: bool = False,
) -> list[Finding]:  # fmt: skip
    """Runs all checks and returns their findings, in the order in which a start needs the parts. `config_file`: where
    the settings come from; `regions`: returns the region library; `contact`: also logs in at the carriers.
    """
    where = str(config_file) if config_file else "the defaults and the environment"
    library = _loaded(settings, regions)
    return [
        Finding(part="configuration", ok=True, says=where),
        *(_outside(settings.store) if settings.store.url else _embedded(settings.store)),
        _tombstones(settings.store),
        _regions(library),
        *_kept(settings, library),
        *_passkeys(settings),
        *_provider(settings),
        *(_carriers(settings, contact=contact) if settings.carriers else [_no_carriers(settings)]),
        *_alignment(settings),
        *_return_address(settings),
    ]


def _outside(section: StoreSection) -> Iterator[Finding]:
    """Yields findings on the store at `store.url`: whether it is usable, and a warning for each guarantee it lacks."""
    try:
        weaker = asyncio.run(_asked(shared_store(section), section))
    except StoreUnavailableError as error:
        yield Finding(part="store", ok=False, says=f"store.url: {error.in_full}")
    except (StartError, StoreRefusedError) as error:
        yield Finding(part="store", ok=False, says=str(error))
    else:
        yield Finding(part="store", ok=True, says="store.url answers")
        for sentence in weaker:
            yield Finding(part="store", ok=True, warns=True, says=f"weaker: {sentence}")


async def _asked(store: Store, section: StoreSection) -> list[str]:
    """Returns the guarantees that an external store lacks. Raises StoreRefusedError, StoreUnavailableError."""
    async with Redis.from_url(store.url, socket_connect_timeout=ANSWER_S, socket_timeout=ANSWER_S) as client:
        connection = Connection(client, Codec(store.keys), replicas_required=section.replicas_required)
        await connection.meet()  # first: does the store answer?
        if await check_store(connection, sandbox=section.sandbox):
            await StoreClock(connection).hear()  # fails if this user of the store may not run scripts
        return await check_engine(connection)


def _embedded(section: StoreSection) -> Iterator[Finding]:
    """Yields findings on the embedded store: its server program, unused settings of keys, and its data directory."""
    try:
        yield Finding(part="store", ok=True, says=f"embedded, with {find_server(section.server)}")
    except ServerNotFoundError as error:
        yield Finding(part="store", ok=False, says=str(error))
    if section.master_key or section.hash_key:
        yield Finding(part="store", ok=True, warns=True, says=OWN_KEYS)
    directory = section.directory.resolve()
    try:
        yield _room(directory, section.reserve_mb)
    except OSError as error:
        yield Finding(part="data directory", ok=False, says=f"{error.filename or directory}: {error.strerror}")


def _room(directory: Path, reserve_mb: int) -> Finding:
    """Returns a finding on the data directory: a fault if it has too little space. Raises OSError if not writable."""
    existing = next(each for each in (directory, *directory.parents) if each.exists())
    for needed in (existing, directory / "alertd.lock"):  # the lock belongs to another user if they started alertd
        if needed.exists() and not os.access(needed, os.W_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, "this user cannot write it", str(needed))
    free_mb, state = free_bytes(existing) // _MB, "" if directory.exists() else " (made at the first start)"
    says = f"{directory}{state}: {free_mb:,} MB free, of which store.reserve_mb keeps {reserve_mb:,}"
    return Finding(part="data directory", ok=free_mb > reserve_mb, says=says)


def _kept(settings: Settings, library: Library | ConfigError) -> Iterator[Finding]:
    """Yields warnings from the data in the store (see `_told`). Yields none while an embedded store does not run."""
    try:
        store = running_store(settings.store)
        if store is None:
            return
        findings = asyncio.run(_told(store.url, Codec(store.keys), settings, library))
    except (StartError, StoreUnavailableError, RedisError, SealError, ValueError, OSError):
        return  # `_outside` or `_embedded` reports faults of the store
    for part, sentences in findings.items():
        for says in sentences:
            yield Finding(part=part, ok=True, warns=True, says=says)


def _running(section: StoreSection) -> tuple[str, Codec] | None:
    """Returns the URL and the codec of the running store; None if it does not run or its keys are unusable."""
    try:
        store = running_store(section)
        return (store.url, Codec(store.keys)) if store else None
    except (StartError, SealError, ValueError, OSError):
        return None


def _no_on_call(rota: OnCall | None) -> Iterator[str]:
    """Yields a warning if alertd can page no person now about an alert that waits for approval."""
    if rota is None or not rota.steps:
        yield "no person is on call: the author of a waiting alert has to call a second person"
    elif not anybody(rota, SystemClock().now_ms()):
        yield "no person is on call at this hour: alertd cannot page anyone about a waiting alert until the next duty begins"


def _unreachable_links(rota: OnCall | None, settings: Settings) -> Iterator[str]:
    """Yields a warning if people on call cannot open the link in a page, because it leads to this machine."""
    site = RelyingParty.of(settings).origins[0]
    if rota and rota.steps and settings.carriers and _is_here(site):
        yield f"pages to people on call link to {site}, which only this machine reaches: set api.public_url"


def _passkeys(settings: Settings) -> Iterator[Finding]:
    """Yields a warning for each origin outside the domain to which browsers bind passkeys (`sign_in.rp_id`)."""
    own = RelyingParty.of(settings)
    for origin in own.origins:
        if not f".{urlsplit(origin).hostname}".endswith(f".{own.id}"):
            says = f"no passkey works at {origin}: passkeys hold for {own.id}, see sign_in.rp_id"
            yield Finding(part="sign_in", ok=True, warns=True, says=says)


def _provider(settings: Settings) -> Iterator[Finding]:
    """Yields a finding on the OpenID provider, if one is configured: a fault for wrong settings; a warning if it does
    not work now, because the service also starts without it and passkeys still work.
    """
    if not settings.oidc.issuer:
        return
    back = f"{RelyingParty.of(settings).origins[0]}/console"
    try:
        asyncio.run(OidcProvider(settings.oidc, guarded(settings.oidc), SystemClock()).meet())
    except ConfigError as error:
        yield Finding(part="sign-in provider", ok=False, says=str(error))
    except ProviderFault as fault:
        says = f"{fault.endpoint} endpoint {fault.url}: {fault.why}. Sign-in by this provider fails"
        yield Finding(part="sign-in provider", ok=True, warns=True, says=says)
    else:
        says = f"{settings.oidc.issuer} answers; it must know the redirect URI {back}"
        yield Finding(part="sign-in provider", ok=True, says=says)


def _words(own: Organisation) -> Iterator[str]:
    """Yields a warning for each way in which an organisation lets alerts go out without a second person."""
    if one := own.unattended:
        yield f"{', '.join(one.levels)} to at most {one.people:,} people, {one.alerts_per_hour:,} an hour, go out without a second person"
    if alone := own.break_glass:
        yield f"{', '.join(alone.levels)} may be approved by their own authors, after {alone.after_min:,} min without a second person"


async def _told(url: str, codec: Codec, settings: Settings, library: Library | ConfigError) -> dict[str, list[str]]:
    """Returns warnings from the store's data by part: for each organisation (alerts without a second person, on-call
    rota, take-downs), for the keys, and for regions that are gone. Raises StoreUnavailableError, SealError (wrong keys).
    """
    async with Redis.from_url(url, socket_connect_timeout=ANSWER_S, socket_timeout=ANSWER_S) as client:
        connection = Connection(client, codec)
        await connection.meet()
        await load_secrets(connection)
        store, rotas, found = OrganisationStore(connection), Rotas(connection), dict[str, list[str]]()
        for org in sorted({settings.alerts.organisation, *await store.names()}):
            (stored, _), (rota, _) = await store.get(org), await rotas.get(org)
            own = Organisation.model_validate_json(stored.document) if stored else None
            called = OnCall.model_validate_json(rota.document) if rota else None
            found[f"organisation {org}"] = [
                *(_words(own) if own else ()),
                *_no_on_call(called),
                *_unreachable_links(called, settings),
            ]
        for org, sentences in (await _takedowns(connection)).items():
            found.setdefault(f"organisation {org}", []).extend(sentences)
        found["keys"] = [says async for says in _key_warnings(connection)]
        with contextlib.suppress(SealError):  # an empty store has no cell key and no records
            await load_cell_key(connection)
        gone = await regions_gone(People(connection, SystemClock()), library) if isinstance(library, Library) else {}
        return {"regions": list(_lost_regions(gone)), **found}


async def _key_warnings(connection: Connection) -> AsyncIterator[str]:
    """Yields a warning for each key that sealed 2^31 values or more, and for a rotation that runs or has stopped."""
    master_keys = MasterKeys(connection)
    check = await connection.execute("GET", keys.KEY_CHECK)
    for ring, seals in (await master_keys.seals((check or b"").decode())).items():
        if seals >= MOST_SEALS:
            yield f"the {ring} key has sealed {seals:,} values, and 2^32 are the most: run alertd keys rotate-master"
    rotation = await master_keys.rotation()
    if rotation.blocked:
        yield f"the rotation of the master key has stopped: {rotation.found.unreadable:,} values do not open under the old key"
    elif rotation.is_running:
        yield "the master key is being rotated: alertd keys rotate-master shows how far it is"


def _lost_regions(gone: dict[str, set[int]]) -> Iterator[str]:
    """Yields a warning about subscribers whose region is gone from the library. `gone`: numbers by region code."""
    if gone:
        people, codes = len(set[int]().union(*gone.values())), ", ".join(sorted(gone)[:MOST_TOLD])
        yield f"{people:,} people named regions that no longer exist, and get no alert for them: {codes}"


async def _takedowns(connection: Connection) -> dict[str, list[str]]:
    """Returns warnings by organisation: distributors that owe confirmations, and may still show ended alerts."""
    hooks, found = Hooks(connection, DistributorHook), dict[str, list[str]]()
    tracks = Tracks(connection)
    held = await tracks.holders(await hooks.orgs())
    refusing = await tracks.refused(held)
    for org, holders in held.items():
        owed = Counter(one.distributor for one in holders if one.owed)
        refused = Counter(one.distributor for one in refusing.get(org, ()))
        for hook in await hooks.of_org(org):
            if owed[hook.id]:
                name = hook.distributor.name
                says = f"{name} ({hook.id}) has not confirmed the take-down of {owed[hook.id]:,} alerts"
                if refused[hook.id]:
                    says += f", and refused that of {refused[hook.id]:,}: nothing more is tried, ring them up"
                found.setdefault(org, []).append(says)
    return found


def _tombstones(section: StoreSection) -> Finding:
    """Returns a finding on the file of tombstones, the list of purged cases. Without write access to it, alertd cannot
    purge a case, so that is a warning.
    """
    file = section.tombstones_file.absolute()
    writable = not section.directory.exists() or os.access(file if file.exists() else file.parent, os.W_OK)
    says = (
        f"{file}, which belongs into no backup of the store"
        if writable
        else f"no case can be purged: {file} cannot be written, see store.tombstones"
    )
    return Finding(part="tombstones", ok=True, warns=not writable, says=says)


def _loaded(settings: Settings, load: Callable[[Settings], Library]) -> Library | ConfigError:
    """Returns the region library, or the error if it cannot be loaded."""
    try:
        return load(settings)
    except ConfigError as error:
        return error


def _regions(library: Library | ConfigError) -> Finding:
    if isinstance(library, ConfigError):
        return Finding(part="regions", ok=False, says=str(library))
    return Finding(part="regions", ok=True, says=f"{len(library):,}")


def _carriers(settings: Settings, *, contact: bool) -> Iterator[Finding]:
    """Yields a finding for each carrier: on its settings and, with `contact`, on a login."""
    usable = dict[str, Carrier]()
    for name, carrier in settings.carriers.items():
        try:
            usable[name] = carrier_of(name, carrier, settings)
        except ConfigError as error:
            yield Finding(part=f"carrier {name}", ok=False, says="; ".join(str(error).splitlines()))
        else:
            if not contact:
                yield Finding(part=f"carrier {name}", ok=True, says=f"{_about(carrier)}; not contacted")
    if contact:
        logins = asyncio.run(carrier_logins.found(usable, _running(settings.store)))
        yield from (_login(one, logins[name], settings.carriers[name]) for name, one in usable.items())


def _login(carrier: Carrier, login: Login, section: AnyCarrier) -> Finding:
    """Returns a finding on a login. A failed login is a fault: the service starts, but cannot use this carrier."""
    cause = cause_of_login(carrier, login)
    works = "works" if login.state is LoginState.WORKS else "its account is not known until the first message"
    if unused := why_not_known(carrier, login):
        works = unused.sentence
    says = cause.sentence if cause else f"{_about(section)}; {works}"
    return Finding(part=f"carrier {carrier.name}", ok=cause is None, says=says)


def _about(section: AnyCarrier) -> str:
    """Returns a carrier's channel, protocol and rate (messages per second) in words."""
    rate = f"{section.rate:g} a second" if section.rate else "no limit"
    return f"{section.channel.value} by {section.kind}, {rate}"


def _alignment(settings: Settings) -> Iterator[Finding]:
    """Yields a warning for each mail carrier without a DKIM key for the sender's domain (RFC 7489, 3.1.1, relaxed)."""
    for name, carrier in settings.carriers.items():
        if not isinstance(carrier, SmtpCarrier) or not carrier.dkim:
            continue
        own = carrier.sender.rpartition("@")[2].rstrip("> ").lower()
        signed = [key.domain.lower() for key in carrier.dkim]
        if not any(f".{own}".endswith(f".{one}") or one.endswith(f".{own}") for one in signed):
            says = f"no DKIM key is of the sender's domain {own}: who checks DMARC may refuse its mail"
            yield Finding(part=f"carrier {name}", ok=True, warns=True, says=says)


def _no_carriers(settings: Settings) -> Finding:
    """Returns the finding if no carrier is configured: a warning, unless a sandbox runs in the data directory."""
    if _sandbox_runs(settings.store.directory / "sandbox" / "sandbox.json"):
        return Finding(part="carriers", ok=True, says="none configured; the sandbox that runs has its own")
    says = "none: nothing can be sent. See ops/alertd.toml; to try it out, `alertd serve --sandbox` has its own"
    return Finding(part="carriers", ok=True, warns=True, says=says)


def _sandbox_runs(file: Path) -> bool:
    """Returns whether the mail relay of the sandbox that wrote sandbox.json (`file`) accepts connections."""
    try:
        mail = json.loads(file.read_text(encoding="utf-8"))["mail"]
        socket.create_connection((mail["host"], mail["port"]), ANSWER_S).close()
    except (OSError, ValueError, KeyError):
        return False
    return True


def _return_address(settings: Settings) -> Iterator[Finding]:
    """Yields a warning if carriers' reports and links in mails would fail, because `api.public_url` is local."""
    url = settings.api.reached_at
    lost = [f"{name}: {what}" for name, carrier in settings.carriers.items() for what in _comes_back(carrier)]
    if lost and _is_here(url):
        says = "; ".join((f"{url} is reached from this machine alone", *lost))
        yield Finding(part="api.public_url", ok=True, warns=True, says=says)


def _comes_back(carrier: AnyCarrier) -> Iterator[str]:
    """Yields what a carrier would lose if the public URL did not work, such as its reports."""
    if isinstance(carrier, TwilioCarrier) and not _is_here(carrier.endpoint):
        yield "its reports would be lost"
    if isinstance(carrier, SmtpCarrier):
        yield "recipients could not unsubscribe by the link in a mail"
        if carrier.reports:
            yield "its reports would be lost"


def _is_here(url: str) -> bool:
    """Returns whether a URL leads to the local machine: localhost, a loopback address, 0.0.0.0 or ::."""
    host = urlsplit(url).hostname or ""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified
