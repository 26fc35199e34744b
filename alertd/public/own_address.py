"""The page of one address in a record that an organisation registered: its owner switches it off and on, or deletes it.

It shows nothing else of the record, because other people's places and addresses may be in it.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from aiohttp import web
from markupsafe import Markup

from alertd.model.subscriber import AddressState, to_document
from alertd.public import forms
from alertd.rendering import Renderer
from alertd.rendering.catalogue import Catalogue
from alertd.service.people.own_record import OwnRecord
from alertd.service.people.sign_up import MAIL, SignUp


def address_line(words: Catalogue, own: OwnRecord) -> Markup:
    """Returns the paragraph that names the mailbox, or says that the address is this device."""
    if own.address.channel != MAIL:
        return forms.paragraph(words.words["device"]["here"])
    colon = words.words["punctuation"]["colon"]
    return forms.paragraph(f"{words.words['subscribe']['mailbox']}{colon}{words.isolate(own.address.value)}")


def own_data(own: OwnRecord) -> dict[str, Any]:
    """Returns what the owner of the address may download: the whole record or the address, as JSON values."""
    document = to_document(own.person)
    if own.is_whole:
        return {"id": own.person.id, "registration": document}
    return {"registration": {"addresses": [one for one in document["addresses"] if one["n"] == own.address.number]}}


def erase_texts(words: Catalogue, own: OwnRecord) -> tuple[str, str, str]:
    """Returns what a deletion does, the label of its button, and what the page says afterwards."""
    texts, leave = words.words["subscribe"], words.words["leave"]
    if own.is_whole:
        return texts["erase_text"], words.joined([leave["link"], texts["erase"]], "dash"), texts["erased"]
    return texts["erase_address_text"], texts["erase_address"], texts["erased_address"]


async def address_page(
    sign_up: SignUp, renderer: Renderer, words: Catalogue, own: OwnRecord, data: Markup, fault: str
) -> web.Response:
    """Returns the page. `data` is its part about the person's data, `fault` says what did not work, if anything."""
    texts, leave, button = words.words["subscribe"], words.words["leave"], Markup()
    state = texts["on"] if own.is_on else leave["left"]
    if own.address.state == AddressState.ACTIVE:
        button = forms.action("off", leave["link"])
    elif await sign_up.is_blocked(own):
        state = texts["blocked"]
    elif own.person.kinds:  # without them, the consent of the whole record was withdrawn
        button = forms.action("on", texts["start"])
    body = (
        forms.fault(fault, "address") + address_line(words, own) + forms.paragraph(texts["managed"])
        + Markup('<p role="status"><strong>{}</strong></p>\n').format(state) + button + data
    )  # fmt: skip
    status = HTTPStatus.UNPROCESSABLE_ENTITY if fault else HTTPStatus.OK
    return forms.html_page(renderer, words, texts["me_title"], body, status=status)
