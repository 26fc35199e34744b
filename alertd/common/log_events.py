"""The log events of alertd, by subject: each name with the sentence that its lines carry as `message`.

A name is a subject and a verb in the past. It stays, because operators filter and raise alarms by it; its sentence may
change. The sentence of a warning or an error also says what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: The event of a line that another library logs. Its `message` is the library's text.
LIBRARY_LOGGED: Final = "library.logged"
#: The event of a step that meets an unavailable store.
STORE_UNAVAILABLE: Final = "store.found_unavailable"

EVENTS_BY_SUBJECT: Final[Mapping[str, Mapping[str, str]]] = {
    "Alerts": {
        "alert.expired": "The alert expired, and its unsent messages expired with it.",
        "alert.left_unanswered": "No person on call answered about the alert: call a person who can decide on it.",
        "alert.purged_again": "A restored backup held a purged alert, and alertd purged it again: no action is needed.",
        "alert.reached_nobody": "No carrier accepted a message of the alert: check the carriers and the alert's ledger.",
        "alert.read_failed": "The stored alert is damaged, and alertd skipped it: check the store and its backups.",
        "alert.restricted_again": "A restored backup held facts of a restricted alert, and alertd restricted it again: no action is needed.",
        "alert.sent": "All messages of the alert are sent.",
        "alert.sent_to_nobody": "The alert had no recipient: check its area, kind and channels, and the testers for a Test.",
        "alert.start_deferred": "The scheduled alert waits because the region library cannot be read: repair the file that `why` names.",
        "alert.start_failed": "The scheduled alert did not start because of `problem`: ask its approver to decide again.",
        "case.purged_again": "A restored backup held a purged case, and alertd purged it again: no action is needed.",
        "follow_up.expired_unfinished": "The end of an alert expired before all its recipients were notified: check the carriers.",
        "jurisdiction.resolve_failed": "A jurisdiction names a removed region: give the organisation or distributor another jurisdiction.",
        "ledger.compressed": "The ledgers of an ended alert were compressed.",
        "published_history.removed": "The published history of a restricted alert was removed.",
        "sought_persons.removed": "The persons sought were removed from an ended alert.",
    },
    "Messages and texts": {
        "chunk.send_failed": "Sending a chunk of messages failed with an unexpected error: report `error` and `places`.",
        "gate.check_failed": "The check before a send failed, and the message was withheld: report `error` and `places`.",
        "message.build_failed": "A channel could not build the message for one recipient: report `error` and `places`.",
        "message.render_failed": "A message cannot be made in `language`: shorten the alert's texts, or report `error`.",
        "message.send_failed": "Sending one message failed with an unexpected error: report `error` and `places`.",
        "own_text.refused": "The rules no longer accept an organisation's own text, and the standard text replaces it: submit it again.",
        "own_texts.read_failed": "An organisation's own texts cannot be read, and the standard texts replace them: submit them again.",
    },
    "Carriers and channels": {
        "access_token.read_failed": "The answer for an access token was unreadable: check the carrier's account and network.",
        "carrier.failed": "The carrier failed and rests for `rests_s` seconds: act on `reason`.",
        "carrier.failed_here": "The carrier fails only in this process: check this machine's clock, certificates and network.",
        "carrier.found_unbound": "No worker is bound to the SMS centre: check its account and its number of binds.",
        "carrier.login_failed": "The carrier's login does not work: act on `cause`, and check the carrier's settings.",
        "carrier.login_restored": "The carrier's login works again.",
        "carrier.none_configured": "The settings have no carrier, so no alert can be sent: add a carrier.",
        "carrier.paused": "The carrier asked for a pause of `seconds`: lower its `rate`, or ask the carrier for more.",
        "carrier.refused_connections": "The carrier refuses this process's connections: lower its `connections`, or raise the limit at the relay.",
        "carrier.refused_every_recipient": "The carrier refuses all new recipients: check its sender, project, countries and block lists.",
        "carrier.refused_many_recipients": "The carrier refused many recipients and accepted others: check whether these addresses are dead.",
        "carrier.resumed": "The carrier accepts messages again.",
        "carrier.tested": "A carrier test ended.",
        "channel.left_without_worker": "No worker sends on the channel, and its messages wait: start a worker with its carrier.",
        "channel.worker_returned": "A worker sends on the channel again.",
        "connection.open_failed": "Opening a connection to a carrier failed with an unexpected error: report `error` and `places`.",
        "relay.connection_refused": "The relay refused one more connection: lower the carrier's `connections`, or raise the limit at the relay.",
        "server.connection_refused": "A carrier's server refused one more connection: lower the carrier's `connections`, or raise its limit.",
        "server.paused": "A carrier's server failed or throttled, and gets no message for `seconds`: act on `reason`.",
        "server.token_refused": "A push service refused the token: check the store's clock and the carrier's `contact`.",
    },
    "Receipts and answers": {
        "message_id.store_failed": "The carrier's message ids were not stored, so the receipts will be lost: check the store.",
        "receipt.processing_failed": "A receipt could not be stored for its message: report `error`.",
        "sms_answer.processing_failed": "An answer by SMS, such as STOP, had no effect: report `error`.",
        "sms_answer.skipped": "Answers by SMS had no country code and no effect: ask the carrier for international numbers.",
    },
    "People on call": {
        "page.failed": "A page failed with an unexpected error, and alertd tries the next address: report `error`.",
        "page.round_failed": "No carrier accepted a page from this worker: check this machine's clock, certificates and network.",
        "page.tried": "alertd tried to page a person on call.",
    },
    "Subscribers and regions": {
        "address.remove_failed": "A dead address stays because its record kept changing: alertd tries again when a message fails.",
        "people_map.build_failed": "The map of people could not be built, and estimates use the older map: check the store.",
        "people_map.cache_failed": "The map of people could not be saved for the next start: check the disk.",
        "place_labels.updated": "Places were labelled with the current regions; alertd labels them again if `complete` is false.",
        "region.found_missing": "Subscribers name removed regions and get no alert by them: register them with an existing region.",
        "region_import.failed": "The import of regions failed: report `error` and `places`, and import again.",
        "region_importer.ended": "The process that imports regions ended early: read `last_words`, and import again.",
        "region_library.drawn_loaded": "alertd loaded the drawn regions and kept the imported regions as before.",
        "region_library.load_failed": "The region library cannot be loaded: import again, or remove the file that `why` names.",
        "region_library.loaded": "alertd loaded the region library.",
        "sample_people.load_advanced": "The sandbox loads sample people.",
        "sign_up_mail.send_failed": "No carrier accepted a mail to a person who signs up: check the carriers of mail.",
        "subscriber.read_failed": "The subscriber's record is damaged, and they get no alert: register them again.",
    },
    "Calls and sign-in": {
        "audit.write_failed": "The audit lacks the outcome of a refused call: check the store.",
        "connection.limit_lowered": "The file limit permits fewer connections than `api.connections`: raise the limit of open files.",
        "connection.limit_reached": "The API dropped or refused connections: check the proxy, or raise `api.connections`.",
        "idempotency_key.settle_failed": "An idempotency key was not settled, so alertd refuses repetitions until it expires: check the store.",
        "passkey.refused": "A passkey was refused: if the operator cannot sign in, register another passkey.",
        "request.failed": "A request failed: find the cause by `problem`, `error` and `places`.",
        "request.parse_failed": "Clients sent requests that cannot be read: check the clients and the proxy.",
        "sign_in_provider.failed": "The sign-in provider gave no usable answer: check `url`, and act on `why`.",
    },
    "Webhooks and distributors": {
        "event.dropped": "Events were deleted before the webhook got them: its receiver must read the alerts.",
        "event.read_failed": "A stored event is damaged and is not delivered: its receivers must read the alert.",
        "take_down.refused": "A distributor refused a take-down and may still show the alert: call the distributor.",
        "webhook.read_failed": "The stored webhook or distributor is damaged and gets no events: register it again.",
        "webhook.turned_off": "alertd turned the webhook off: ask the people who run its receiver, then resume it.",
    },
    "Store": {
        "disk.ballast_released": "alertd deleted its ballast because the disk is nearly full: free space on the disk.",
        "disk.space_changed": "Free disk space crossed the reserve: if `space` is low, free space on the disk.",
        "memory.space_changed": "A store's memory use crossed its limit: if `space` is low, raise its `maxmemory`.",
        "store.ended": "The embedded store ended, and `log` has its last lines: find the cause there.",
        STORE_UNAVAILABLE: "The store does not answer or accepts no writes: check its server, disk, memory and network.",
        "store.leftover_signalled": "A store of an earlier alertd still ran, and alertd stops it: check how that alertd ended.",
        "store.load_awaited": "The store is loading its data, and alertd waits for it.",
        "store.restarted": "The embedded store runs again.",
        "store.restored": "The store was restored from a backup: stop sending, and follow the page After a restore.",
        "store.rewrite_request_failed": "The store did not answer a request to shrink its files: check the store.",
        "store.rewrite_requested": "alertd asked the store to shrink its files.",
        "store.settings_found_weak": "The store promises less than alertd asks: act on `why`.",
        "store_clock.set_back": "The clock of the store's server went back: let NTP slew it and never step it.",
        "store_clock.set_forward": "The clock of the store's server went forward: check which alerts have expired.",
        "store_clocks.converged": "The clocks of the store's servers agree again.",
        "store_clocks.diverged": "The clocks of the store's servers disagree: set all of them by NTP.",
        "tombstone.lines_skipped": "Lines in the file of tombstones are cut off, and alertd skipped them: check its disk.",
    },
    "Keys of the store": {
        "master_key.new_key_not_found": "This process lacks the new master key, so the rotation waits: put it where the option in `see` says.",
        "master_key.overused": "A key has sealed too many values: rotate the master key with the command in `run`.",
        "master_key.rotated": "The rotation of the master key is complete.",
        "master_key.rotation_started": "A rotation of the master key started.",
        "master_key.values_found_unreadable": "The old master key cannot open some values: repair them, or give them up.",
        "store_key.read_failed": "A key in the store does not open: check the store, and which master key this process has.",
        "store_keys.refused": "The store's keys do not fit this process, which keeps its own: act on `why`.",
    },
    "Processes and libraries": {
        "background_work.failed": "Repeated work failed, and alertd tries it again: report `work`, `error` and `places`.",
        "child_process.ended": "A child process ended, and alertd starts it again: look at `code` and the lines before.",
        "child_process.start_failed": "A child process did not start, and alertd tries again: act on `error`.",
        "exception.escaped": "A thread or finaliser raised an exception that no code caught: report `error` and `places`.",
        LIBRARY_LOGGED: "A library logged this line, and `message` has its text: look at `logger`.",
        "library.warned": "A library warned about its use: report `warning` and `place`.",
        "step.failed": "A step failed: check the store if `error` is AnsweredTooLateError, otherwise report `step` and `error`.",
        "worker.started": "A worker process started.",
    },
}
EVENTS: Final[Mapping[str, str]] = {name: text for group in EVENTS_BY_SUBJECT.values() for name, text in group.items()}
