"""Every cause of a carrier's fault has a sentence, settings that exist, and the same words in the console."""

from __future__ import annotations

import string
from dataclasses import replace

import pytest

from alertd.config.carriers import KINDS_OF_CARRIER
from alertd.console import STATIC
from alertd.console.words import catalogue_of
from alertd.service.carriers.carriers import Carrier
from alertd.service.carriers.states import COMMON_SETTINGS, SENTENCES, SETTINGS, STATES, cause_of_answer, cause_of_login
from channels.base import ACCEPTED, Answer, Outcome, Reason
from channels.login import WORKS, Login, LoginState

CATALOGUE = catalogue_of(STATIC / "words.json")
HEALTHY = {LoginState.WORKS, LoginState.NOT_KNOWN}


def carrier(kind: str = "smtp") -> Carrier:
    return Carrier(name="one", number=1, channel=None, kind=kind)  # type: ignore[arg-type]  nothing is sent


def test_every_fault_and_every_reason_has_a_sentence():
    """And no sentence is without a code that can occur."""
    states = {one.value for one in LoginState if one not in HEALTHY}
    reasons = {one.name.lower() for one in Reason if one is not Reason.NONE}
    assert set(SENTENCES) == states | reasons | {"no_worker", "rests", "waits", "no_subscription"}
    assert set(STATES) == states | {one.value for one in HEALTHY} | {"no_worker", "rests", "waits"}


@pytest.mark.parametrize("kind", KINDS_OF_CARRIER)
def test_every_setting_that_a_cause_names_exists(kind: str):
    """A person who looks for it in alertd.toml finds it."""
    options = set(KINDS_OF_CARRIER[kind].model_fields)
    assert {name for names in SETTINGS[kind].values() for name in names} <= options
    assert {name for names in COMMON_SETTINGS.values() for name in names} <= options


def test_every_place_of_a_fault_has_settings_for_some_kind():
    """A misspelt one would name none."""
    known = {"account", *COMMON_SETTINGS, *(where for places in SETTINGS.values() for where in places)}
    assert {where for _, where in SENTENCES.values()} <= known


@pytest.mark.parametrize("code", SENTENCES)
def test_the_console_has_each_sentence_in_every_language(code: str):
    """With the same places to fill as the English one."""
    english, *others = CATALOGUE.words[f"cause-{code}"]
    assert len(others) == len(CATALOGUE.languages) - 1
    for words in others:
        assert places(words) == places(english)


def places(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


def test_a_cause_names_server_words_and_settings():
    """In one sentence: what happened, then what to check."""
    cause = cause_of_login(carrier(), Login(LoginState.LOGIN_REFUSED, "mx.example:587", "535 5.7.8 no"))
    assert cause is not None
    says = "mx.example:587 refused the login: 535 5.7.8 no. Check carriers.one.user and carriers.one.password."
    assert cause.sentence == says
    assert cause_of_login(carrier(), WORKS) is None


def test_a_cause_names_the_option_that_the_file_has():
    """Where the password comes from a file, the option that names the file."""
    refused = Login(LoginState.LOGIN_REFUSED, "mx.example:587", "535 5.7.8 no")
    cause = cause_of_login(replace(carrier(), from_files=frozenset({"password"})), refused)
    assert cause is not None
    assert cause.settings == ("carriers.one.user", "carriers.one.password_file")


def test_an_answer_for_another_account_names_the_account_too():
    """Twilio's account is part of the URL: a wrong one is answered like a wrong endpoint."""
    answered = Outcome(Answer.UNKNOWN, Reason.GARBAGE, said="HTTP 404")
    cause = cause_of_answer(carrier("twilio"), answered, "+34600000001")
    assert cause is not None
    assert cause.settings == ("carriers.one.endpoint", "carriers.one.account")


def test_a_blocked_message_names_the_account_and_the_sender():
    """A relay may refuse to relay because alertd logs in nowhere: the setting is `user`."""
    blocked = Outcome(Answer.RETRY, Reason.BLOCKED, said="554 5.7.1 relay access denied")
    cause = cause_of_answer(carrier(), blocked, "me@centre.example")
    assert cause is not None
    assert cause.settings == ("carriers.one.user", "carriers.one.password", "carriers.one.sender")


def test_a_refused_message_is_explained_in_the_carriers_words_without_the_address():
    """The words often quote it."""
    refused = Outcome(Answer.NEVER, Reason.BAD_ADDRESS, said="550 5.1.3 <me@centre.example> is no mailbox")
    cause = cause_of_answer(carrier(), refused, "me@centre.example")
    assert cause is not None
    assert cause.said == "550 5.1.3 <…> is no mailbox"
    assert cause_of_answer(carrier(), ACCEPTED, "me@centre.example") is None
