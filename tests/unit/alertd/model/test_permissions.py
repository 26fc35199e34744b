"""Where a permission stands: by its answer, and without one by the state of the alert."""

from __future__ import annotations

import pytest

from alertd.model.kinds import PermissionState
from alertd.model.permission import Permission, parse_permissions, with_words, words_of, written
from alertd.model.states import AlertState

ONE = Permission(org="cadiz", name="Policía de Cádiz", ground="00", km2=7450.6, seen=3, people="<20", regions="1-4")


@pytest.mark.parametrize("state", AlertState)
def test_every_state_of_an_alert_has_its_word(state: AlertState):
    """It is asked while the alert is told, and lapses with it; an answer stands whatever becomes of the alert."""
    untold = {"draft", "pending", "returned", "rejected", "scheduled"}
    told = {"approved", "sending", "sent"}
    word = "unasked" if state in untold else "asked" if state in told else "lapsed"
    assert ONE.state(state) == word
    for answer in (PermissionState.GRANTED, PermissionState.REFUSED):
        answered = Permission(
            **{name: getattr(ONE, name) for name in Permission.__struct_fields__} | {"answer": answer}
        )
        assert answered.state(state) is answer


def test_what_is_written_is_what_is_read():
    """Of none nothing is written; what was said is kept by organisation, and taken back."""
    assert parse_permissions(written((ONE, ONE))) == (ONE, ONE)
    assert (written(()), parse_permissions("")) == ("", ())
    said = with_words(with_words("", "cadiz", "eva"), "huelva", "gil")
    assert words_of(said) == {"cadiz": "eva", "huelva": "gil"}
    assert words_of(with_words(said, "cadiz", "")) == {"huelva": "gil"}
