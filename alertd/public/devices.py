"""Pages on which people sign up a browser for web push, and the files that make the site an installable app.

The form works like the form for sign-up by mail. The second step needs a script, because only a script can ask the
browser for a push subscription. No other public page has a script, and alertd serves this one itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from markupsafe import Markup
from pydantic import BaseModel, ValidationError

from alertd.common.errors import Problem
from alertd.common.resources import webpush_file
from alertd.model.registration import PushSubscription
from alertd.model.subscriber import key_of
from alertd.public import forms
from alertd.public.layout import headers, page
from alertd.public.places import Places
from alertd.public.sign_up_form import SignUpForm
from alertd.rendering import Renderer
from alertd.rendering.catalogue import Catalogue
from alertd.service.people.device_sign_up import WEBPUSH, DeviceSignUp
from alertd.service.people.sign_up import Confirmed, SignUp
from alertd.service.people.sign_up_links import DeviceWish, new_once
from alertd.store.engine.connection import StoreUnavailableError

#: Maximum bytes of a posted subscription: an endpoint of 2,000 characters and two keys fit in.
SUBSCRIPTION_BYTES = 8 * 1024
#: Seconds for which browsers may cache the scripts, the manifest and the icon: short, so that they soon use those of a
#: new version of alertd.
KEEP_S = 60
_ICON = "image/png"


class Renewed(BaseModel):
    """The body that the service worker posts when the browser has replaced its push subscription `before`."""

    subscription: PushSubscription
    before: PushSubscription | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DevicePages:
    """Handles the requests for the pages and files of browser sign-up."""

    sign_up: SignUp
    devices: DeviceSignUp
    renderer: Renderer
    form: SignUpForm
    address_header: str  # the header in which the proxy gives the browser's address; "" without a proxy

    async def show_form(self, request: web.Request) -> web.Response:
        words = forms.words_of(request, self.renderer)
        return self._form(words, {"language": words.language}, {})

    async def take_form(self, request: web.Request) -> web.Response:
        """Checks place and consent, and returns the page of the last step. If the text may mean several places, returns
        a page to choose one. Returns the form again for errors (422) or too many requests (429). Stores no person.
        """
        words, given = forms.words_of(request, self.renderer), await forms.read_form(request)
        texts, faults = words.words["subscribe"], dict[str, str]()
        found = await self.form.check(words, given, faults)
        if given.get("website"):  # only programs fill in this hidden field
            faults["form"] = texts["again"]
        if faults:
            return self._form(words, given, faults, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        if len(found) > 1:
            return self.form.render_choice(words, given, found)
        if not await self.sign_up.admits(forms.network_of(request, self.address_header)):
            return self._form(words, given, {"form": texts["too_many"]}, status=HTTPStatus.TOO_MANY_REQUESTS)
        wish = DeviceWish(
            made_s=self.sign_up.links.now_s(), regions=(found[0],), general=bool(given.get("general")), once=new_once(),
            language=self.form.language(words, given),
        )  # fmt: skip
        return self._last_step(words, wish)

    async def register(self, request: web.Request) -> web.Response:
        """Registers a browser for the choices in the link's token, with the push subscription that the browser posts.
        Answers JSON: `next`, the path of the settings, or `error` with 410 for an invalid link and 409 for any other
        refusal.
        """
        subscription = PushSubscription.model_validate_json(await _body(request))
        try:
            result, name = await self.devices.register(request.match_info["token"], subscription)
        except Problem as problem:
            return web.json_response({"error": problem.slug}, status=HTTPStatus.CONFLICT)
        if result not in {Confirmed.DONE, Confirmed.MANAGED}:  # the settings say who keeps the places
            status = HTTPStatus.GONE if result is Confirmed.BROKEN else HTTPStatus.CONFLICT
            return web.json_response({"error": result.value}, status=status)
        return web.json_response({"next": f"/me/{self._settings(name, subscription)}"})

    async def show_own(self, request: web.Request) -> web.Response:
        """Returns the page with a button that opens the settings of this browser's subscriber."""
        words = forms.words_of(request, self.renderer)
        texts = words.words["subscribe"]
        return self._scripted(
            words,
            texts["manage_title"],
            words.words["device"]["known"],
            "/subscribe/device/settings",
            texts["settings"],
        )

    async def settings(self, request: web.Request) -> web.Response:
        """Answers a browser that posts its push subscription with the path of its settings, or 404 if it is not signed
        up.
        """
        subscription = PushSubscription.model_validate_json(await _body(request))
        person = await self.devices.person(subscription)
        if person is None:
            return web.json_response({"error": "not-found"}, status=HTTPStatus.NOT_FOUND)
        return web.json_response({"next": f"/me/{self._settings(person.id, subscription)}"})

    def _settings(self, subscriber: str, subscription: PushSubscription) -> str:
        """Returns the token of a link to a subscriber's settings, for the owner of this browser."""
        return self.sign_up.links.make_settings(subscriber, key_of(WEBPUSH, subscription.value))

    async def renew(self, request: web.Request) -> web.Response:
        """Replaces a browser's stored push subscription by its new one. Answers 204, or 404 if the previous one is not
        stored.
        """
        renewed = Renewed.model_validate_json(await _body(request))
        is_known = renewed.before is not None and await self.devices.replace(renewed.before, renewed.subscription)
        return web.Response(status=HTTPStatus.NO_CONTENT if is_known else HTTPStatus.NOT_FOUND)

    async def manifest(self, request: web.Request) -> web.Response:
        """Returns the web app manifest, with which a browser installs the site, in the language of `?lang=`."""
        words = forms.words_of(request, self.renderer)
        texts = words.words["device"]
        document = {
            "name": texts["app"], "short_name": texts["app"], "lang": words.language, "dir": words.direction,
            "start_url": f"/alerts?lang={words.language}", "scope": "/", "display": "standalone",
            "background_color": "#ffffff", "theme_color": "#0b57b0",
            "icons": [{"src": "/app-icon.png", "sizes": "512x512", "type": _ICON, "purpose": "any"}],
        }  # fmt: skip
        return _file(json.dumps(document, ensure_ascii=False).encode(), "application/manifest+json")

    async def worker(self, request: web.Request) -> web.Response:
        """Returns the script of the service worker, with the constants of this site and the texts of `?lang=`."""
        words = forms.words_of(request, self.renderer)
        return _file(_worker(words, self.devices.application_server_key).encode(), "text/javascript")

    async def script(self, request: web.Request) -> web.Response:
        """Returns device.js or subscribe.js, by the path of the request."""
        return _file(webpush_file(request.path.removeprefix("/")), "text/javascript")

    async def icon(self, _request: web.Request) -> web.Response:
        return _file(webpush_file("icon.png"), _ICON)

    def _form(
        self, words: Catalogue, given: Mapping[str, str], faults: Mapping[str, str], *, status: HTTPStatus = HTTPStatus.OK
    ) -> web.Response:  # fmt: skip
        texts, device = words.words["subscribe"], words.words["device"]
        form = self.form.render(words, given, faults, consent=device["consent"], submit=texts["next"], address=Markup())
        body = (
            forms.paragraph(device["lead"]) + forms.paragraph(device["no_broadcast"], "quiet") + form
            + forms.link("/subscribe/device/settings", device["known"])
            + (forms.link("/subscribe", texts["title"]) if self.sign_up.is_open else Markup())
            + forms.link("/privacy", texts["privacy"])
        )  # fmt: skip
        return forms.html_page(self.renderer, words, device["title"], body, status=status, path="/subscribe/device")

    def _last_step(self, words: Catalogue, wish: DeviceWish) -> web.Response:
        """Returns the page of the second step. It names the places; its button asks the browser for permission and then
        registers the browser for `wish`.
        """
        device = words.words["device"]
        names = words.listed([self.form.places.label(words, code) for code in wish.regions])
        text = f"{words.words['subscribe']['confirm_text'].format(places=names)} {device['last_step']}"
        return self._scripted(
            words, device["title"], text, f"/subscribe/device/{self.sign_up.links.make(wish)}", device["allow"]
        )

    def _scripted(self, words: Catalogue, title: str, text: str, to: str, label: str) -> web.Response:
        """Returns a page with `text` and one button. The button's script posts the browser's push subscription to the
        path `to`, and opens the page that the answer names. If scripts are off, the page says that it needs them.
        """
        device = words.words["device"]
        texts = {
            "no-script": "no_script", "denied": "denied", "home-screen": "home", "unsupported": "unsupported", "failed": "failed"
        }  # fmt: skip
        # The script hides the first text (scripts are off), and shows one of the others if a step fails.
        results = Markup().join(
            Markup('<p role="status" data-says="{}"{}>{}</p>\n').format(
                name, "" if name == "no-script" else Markup(" hidden"), device[key]
            )
            for name, key in texts.items()
        )
        button = Markup(
            '<form data-key="{key}" data-worker="/sw.js?lang={lang}" data-to="{to}" hidden>\n{button}</form>\n'
        ).format(key=self.devices.application_server_key, lang=words.language, to=to, button=forms.button(label))
        made = page(
            self.renderer, "device.html", words.language, path="", title=title, languages=(), may_sign_up=True,
            body=forms.paragraph(text) + button + results,
        )  # fmt: skip
        own = {"Content-Security-Policy": _with_scripts(), hdrs.CACHE_CONTROL: "no-store"}
        return web.Response(body=made.body, content_type="text/html", charset="utf-8", headers={**made.headers, **own})


async def _body(request: web.Request) -> bytes:
    """Returns the body. Raises HTTPException if the body is too large, too slow or not declared as JSON. A form of
    another site cannot send JSON, because the browser first asks alertd for permission (CORS).
    """
    return await forms.read_body(request, "application/json", SUBSCRIPTION_BYTES)


def _file(body: bytes, content_type: str) -> web.Response:
    """Returns a file that browsers and proxies may cache for `KEEP_S` seconds."""
    response = web.Response(body=body, content_type=content_type)
    response.headers[hdrs.CACHE_CONTROL] = f"public, max-age={KEEP_S}"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _with_scripts() -> str:
    """Returns the Content-Security-Policy of the page with a script: scripts only from alertd itself, none inline."""
    policy = headers()["Content-Security-Policy"]
    return f"{policy}; script-src 'self'; connect-src 'self'; worker-src 'self'; manifest-src 'self'"


def _worker(words: Catalogue, key: str) -> str:
    """Returns the text of `ops/webpush/sw.js` with its constants set for alertd's own pages. `key`: the application
    server key. Raises ValueError if the file lacks one of the constants.
    """
    device = words.words["device"]
    neutral = {"title": device["app"], "body": device["neutral"], "lang": words.language, "dir": words.direction}
    settings = {
        "ALERTD": "", "KEY": key, "HOOK": "/subscribe/device/changed", "HOME": f"/alerts?lang={words.language}",
        "LOOK": {"icon": "/app-icon.png"}, "NEUTRAL": neutral,
    }  # fmt: skip
    lines = webpush_file("sw.js").decode().splitlines()
    for number, line in enumerate(lines):
        name = line.removeprefix("const ").partition(" = ")[0]
        if line.startswith("const ") and name in settings:
            lines[number] = f"const {name} = {json.dumps(settings.pop(name), ensure_ascii=False)};"
    if settings:
        raise ValueError(f"sw.js lacks the constants {', '.join(settings)}")
    return "\n".join(lines) + "\n"


def device_routes(
    sign_up: SignUp, devices: DeviceSignUp, renderer: Renderer, address_header: str
) -> list[web.RouteDef]:
    """Returns the routes of browser sign-up. All answer 404 if public sign-up is off or no web push carrier exists, 422
    for a malformed subscription, and 503 if the store does not answer.
    """
    form = SignUpForm(renderer=renderer, places=Places(sign_up.regions), links=sign_up.links)
    pages = DevicePages(sign_up=sign_up, devices=devices, renderer=renderer, form=form, address_header=address_header)

    def guarded(handler: Handler) -> Handler:
        """Wraps a handler so that it answers 404 while sign-up is off, 422 for a malformed body,
        503 without the store.
        """

        async def handle(request: web.Request) -> web.StreamResponse:
            if not devices.is_open:
                raise web.HTTPNotFound
            try:
                return await handler(request)
            except ValidationError:
                return web.json_response({"error": "invalid-request"}, status=HTTPStatus.UNPROCESSABLE_ENTITY)
            except StoreUnavailableError:
                return web.json_response(
                    {"error": "unavailable"}, status=HTTPStatus.SERVICE_UNAVAILABLE, headers={hdrs.RETRY_AFTER: "5"}
                )

        return handle

    return [
        web.get("/subscribe/device", guarded(pages.show_form)),
        web.post("/subscribe/device", guarded(pages.take_form)),
        web.get("/subscribe/device/settings", guarded(pages.show_own)),
        web.post("/subscribe/device/settings", guarded(pages.settings)),
        web.post("/subscribe/device/changed", guarded(pages.renew)),
        web.post("/subscribe/device/{token}", guarded(pages.register)),
        web.get("/app.webmanifest", guarded(pages.manifest)),
        web.get("/app-icon.png", guarded(pages.icon)),
        web.get("/sw.js", guarded(pages.worker)),
        web.get("/device.js", guarded(pages.script)),
        web.get("/subscribe.js", guarded(pages.script)),
    ]
