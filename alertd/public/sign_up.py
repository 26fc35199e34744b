"""Pages on which people sign up by mail: the form, and the page behind the link in the mail.

The form gives every mailbox the same answer, so it does not reveal who is a subscriber. Mail scanners open every link.
So opening a link changes nothing; the person presses a button on the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from markupsafe import Markup
from pydantic import TypeAdapter, ValidationError

from alertd.model.fields import Mailbox
from alertd.model.subscriber import key_of
from alertd.public import forms
from alertd.public.own_settings import OwnSettingsPages
from alertd.public.places import Places
from alertd.public.privacy import privacy_page
from alertd.public.sign_up_form import SignUpForm
from alertd.rendering import Renderer
from alertd.rendering.catalogue import Catalogue
from alertd.service.people.sign_up import MAIL, Confirmed, SignUp
from alertd.service.people.sign_up_links import Wish, new_once
from alertd.store.engine.connection import StoreUnavailableError

_mailbox = TypeAdapter(Mailbox)


@dataclass(frozen=True, kw_only=True, slots=True)
class SignUpPages:
    """Handles the requests of sign-up by mail, of the form that requests a settings link, and of the privacy page."""

    sign_up: SignUp
    renderer: Renderer
    form: SignUpForm
    address_header: str  # the header in which the proxy gives the browser's address; "" without a proxy
    on_device: bool  # people may also sign up a browser

    async def show_form(self, request: web.Request) -> web.Response:
        words = forms.words_of(request, self.renderer)
        return self._form(words, {"language": words.language}, {})

    async def take_form(self, request: web.Request) -> web.Response:
        """Checks the posted form and queues the mail with the confirmation link. If the text may mean several places,
        returns a page to choose one. Returns the form again for errors (422) or too many requests (429). Stores no
        person.
        """
        words, given = forms.words_of(request, self.renderer), await forms.read_form(request)
        texts = words.words["subscribe"]
        if given.get("website"):  # only programs fill in this hidden field; they learn nothing from the usual answer
            return _sent(self.renderer, words, "sent")
        faults, mailbox = dict[str, str](), read_mailbox(given)
        if mailbox is None:
            faults["mailbox"] = texts["bad_mailbox"]
        found = await self.form.check(words, given, faults)
        if faults or mailbox is None:
            return self._form(words, given, faults, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        if len(found) > 1:
            return self.form.render_choice(words, given, found)
        if not await self.sign_up.admits(forms.network_of(request, self.address_header)):
            return self._form(words, given, {"form": texts["too_many"]}, status=HTTPStatus.TOO_MANY_REQUESTS)
        wish = Wish(
            made_s=self.sign_up.links.now_s(), mailbox=mailbox, regions=(found[0],), language=self.form.language(words, given),
            general=bool(given.get("general")), once=new_once(),
        )  # fmt: skip
        chosen = self.renderer.words(wish.language)
        await self.sign_up.ask(wish, [self.form.places.label(chosen, code) for code in wish.regions])
        return _sent(self.renderer, words, "sent")

    async def show_confirmation(self, request: web.Request) -> web.Response:
        """Returns the page behind the link in the mail, with the button that confirms; 404 for an invalid link. Changes
        nothing.
        """
        words, wish = forms.words_of(request, self.renderer), self._wish(request)
        if wish is None:
            return _refused(self.renderer, words, Confirmed.BROKEN)
        words = words if request.query.get("lang") else self.renderer.words(wish.language)
        texts = words.words["subscribe"]
        names = words.listed([self.form.places.label(words, code) for code in wish.regions])
        body = forms.paragraph(texts["confirm_text"].format(places=names)) + forms.form(
            forms.button(texts["confirm_button"])
        )
        return forms.html_page(self.renderer, words, texts["confirm_title"], body)

    async def confirm(self, request: web.Request) -> web.Response:
        """Registers the person of the link, or adds the place to a known subscriber, and returns a page with the link
        to their settings. Returns a page with the reason if that is refused. Idempotent.
        """
        words, wish = forms.words_of(request, self.renderer), self._wish(request)
        result, name = await self.sign_up.confirm(request.match_info["token"])
        if wish is not None and not request.query.get("lang"):
            words = self.renderer.words(wish.language)
        if result is not Confirmed.DONE or wish is None:
            return _refused(self.renderer, words, result)
        texts = words.words["subscribe"]
        to = f"../../me/{self.sign_up.links.make_settings(name, key_of(MAIL, wish.mailbox))}"
        return forms.html_page(
            self.renderer,
            words,
            texts["done_title"],
            forms.paragraph(texts["done"]) + forms.link(to, texts["settings"]),
        )

    async def show_manage(self, request: web.Request) -> web.Response:
        return self._manage(forms.words_of(request, self.renderer), {}, {})

    async def take_manage(self, request: web.Request) -> web.Response:
        """Queues the mail with the link to the settings of a mailbox's subscriber. Answers the same
        for every mailbox.
        """
        words, given = forms.words_of(request, self.renderer), await forms.read_form(request)
        texts = words.words["subscribe"]
        if given.get("website"):
            return _sent(self.renderer, words, "manage_sent")
        mailbox = read_mailbox(given)
        if mailbox is None:
            return self._manage(words, given, {"mailbox": texts["bad_mailbox"]}, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        if not await self.sign_up.admits(forms.network_of(request, self.address_header)):
            return self._manage(words, given, {"form": texts["too_many"]}, status=HTTPStatus.TOO_MANY_REQUESTS)
        await self.sign_up.ask_for_settings(mailbox, words.language)
        return _sent(self.renderer, words, "manage_sent")

    async def show_privacy(self, request: web.Request) -> web.Response:
        return privacy_page(self.renderer, forms.words_of(request, self.renderer))

    def _wish(self, request: web.Request) -> Wish | None:
        """Returns the sign-up that the link's token contains; None if the token is forged, damaged or expired."""
        return self.sign_up.links.open(request.match_info["token"], Wish)

    def _form(
        self,
        words: Catalogue,
        given: Mapping[str, str],
        faults: Mapping[str, str],
        *,
        status: HTTPStatus = HTTPStatus.OK,
    ) -> web.Response:
        """Returns the sign-up page with the values that were typed and the error messages by field."""
        texts = words.words["subscribe"]
        address = forms.field(
            "mailbox", texts["mailbox"], given.get("mailbox", ""), faults.get("mailbox", ""), forms.MAILBOX
        )
        form = self.form.render(words, given, faults, consent=texts["consent"], submit=texts["submit"], address=address)
        page = (
            forms.paragraph(texts["lead"]) + forms.paragraph(texts["no_broadcast"], "quiet") + form
            + (forms.link("subscribe/device", words.words["device"]["title"]) if self.on_device else Markup())
            + forms.link("privacy", texts["privacy"]) + forms.link("subscribe/manage", texts["manage_title"])
        )  # fmt: skip
        return forms.html_page(self.renderer, words, texts["title"], page, status=status, path="/subscribe")

    def _manage(
        self,
        words: Catalogue,
        given: Mapping[str, str],
        faults: Mapping[str, str],
        *,
        status: HTTPStatus = HTTPStatus.OK,
    ) -> web.Response:
        """Returns the page on which a subscriber requests the link to their settings."""
        texts = words.words["subscribe"]
        body = (
            forms.fault(faults.get("form", ""), "form")
            + forms.field("mailbox", texts["mailbox"], given.get("mailbox", ""), faults.get("mailbox", ""), forms.MAILBOX)
            + forms.trap(texts["trap"], self.sign_up.links) + forms.button(texts["manage_button"])
        )  # fmt: skip
        page = forms.paragraph(texts["manage_text"]) + forms.form(body) + forms.link("../privacy", texts["privacy"])
        return forms.html_page(self.renderer, words, texts["manage_title"], page, status=status)


def read_mailbox(given: Mapping[str, str]) -> str | None:
    """Returns the field `mailbox` of a posted form, or None if it is no valid mail address."""
    try:
        return _mailbox.validate_python(given.get("mailbox", ""))
    except ValidationError:
        return None


def _sent(renderer: Renderer, words: Catalogue, text: str) -> web.Response:
    """Returns the page that asks the person to look into their mailbox. `text`: the key of its text."""
    texts = words.words["subscribe"]
    return forms.html_page(renderer, words, texts["sent_title"], forms.paragraph(texts[text]))


def _refused(renderer: Renderer, words: Catalogue, result: Confirmed) -> web.Response:
    """Returns the page that explains why a confirmation changed nothing: 404 for an invalid link, 409 for any other
    reason.
    """
    texts, title = words.words["subscribe"], words.words["leave"]["broken"]
    body = forms.paragraph(texts[result.value])
    if result in {Confirmed.FULL, Confirmed.MANAGED}:  # the link works, but adds nothing
        title = texts["me_title"]
        body += forms.link("../../subscribe/manage", texts["manage_title"])
    elif result is not Confirmed.BLOCKED:
        body += forms.link("../../subscribe", texts["title"])
    status = HTTPStatus.NOT_FOUND if result is Confirmed.BROKEN else HTTPStatus.CONFLICT
    return forms.html_page(renderer, words, title, body, status=status)


def sign_up_routes(
    sign_up: SignUp, renderer: Renderer, address_header: str, *, on_device: bool = False
) -> list[web.RouteDef]:
    """Returns the routes of sign-up by mail, of the settings page and of the privacy page. `on_device`: people may also
    sign up a browser. `address_header`: the header in which a proxy gives the browser's address.

    If sign-up by mail is off, its routes redirect to browser sign-up if that is possible, and else answer 404. The
    settings page stays if either is on. A route answers 503 if the store does not answer.
    """
    places = Places(sign_up.regions)
    form = SignUpForm(renderer=renderer, places=places, links=sign_up.links)
    pages = SignUpPages(
        sign_up=sign_up, renderer=renderer, form=form, address_header=address_header, on_device=on_device
    )
    has_settings = sign_up.is_open or on_device
    own = OwnSettingsPages(sign_up=sign_up, renderer=renderer, places=places)

    def guarded(handler: Handler, *, is_open: bool = sign_up.is_open) -> Handler:
        """Wraps a handler so that it redirects or answers 404 if it is not open, and answers 503 without the store."""

        async def handle(request: web.Request) -> web.StreamResponse:
            words = forms.words_of(request, renderer)
            texts = words.words["subscribe"]
            if not is_open and on_device:
                raise web.HTTPSeeOther("/subscribe/device")
            if not is_open:
                return forms.html_page(renderer, words, texts["closed"], Markup(), status=HTTPStatus.NOT_FOUND)
            try:
                return await handler(request)
            except StoreUnavailableError:
                page = forms.html_page(
                    renderer, words, texts["unavailable"], Markup(), status=HTTPStatus.SERVICE_UNAVAILABLE
                )
                page.headers[hdrs.RETRY_AFTER] = "5"
                return page

        return handle

    return [
        web.get("/privacy", pages.show_privacy),
        web.get("/subscribe", guarded(pages.show_form)),
        web.post("/subscribe", guarded(pages.take_form)),
        web.get("/subscribe/manage", guarded(pages.show_manage)),
        web.post("/subscribe/manage", guarded(pages.take_manage)),
        web.get("/subscribe/confirm/{token}", guarded(pages.show_confirmation)),
        web.post("/subscribe/confirm/{token}", guarded(pages.confirm)),
        web.get("/me/{token}", guarded(own.show, is_open=has_settings)),
        web.post("/me/{token}", guarded(own.act, is_open=has_settings)),
        web.get("/me/{token}/data.json", guarded(own.download, is_open=has_settings)),
    ]
