"""Pages on which people sign up a browser for web push, and the files that make the site an installable app.

The form works like that of mail. Its second step needs a script, because only a script can ask the browser. The page has
the only script of the public pages, and it comes from alertd itself.
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
from alertd.public import forms
from alertd.public.layout import headers, page
from alertd.public.places import Places
from alertd.public.sign_up_form import SignUpForm
from alertd.rendering import Renderer
from alertd.rendering.catalogue import Catalogue
from alertd.service.people.device_sign_up import DeviceSignUp
from alertd.service.people.sign_up import Confirmed, SignUp
from alertd.service.people.sign_up_links import DeviceWish, new_once
from alertd.store.engine.connection import StoreUnavailableError

#: Bytes of a subscription: an endpoint of 2,000 characters and two keys.
SUBSCRIPTION_BYTES = 8 * 1024
#: Seconds for which browsers may keep the scripts and the icon. A new version of alertd is there within a minute.
KEEP_S = 60
_ICON = "image/png"


class Renewed(BaseModel):
    """What the service worker posts when the browser has changed its subscription."""

    subscription: PushSubscription
    before: PushSubscription | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DevicePages:
    """Handles the pages."""

    sign_up: SignUp
    devices: DeviceSignUp
    renderer: Renderer
    form: SignUpForm
    address_header: str  # of the proxy, with the browser's address

    async def show_form(self, request: web.Request) -> web.Response:
        words = forms.words_of(request, self.renderer)
        return self._form(words, {"language": words.language}, {})

    async def take_form(self, request: web.Request) -> web.Response:
        """Checks place and consent, and asks for the place again if several have its name. Stores nothing."""
        words, given = forms.words_of(request, self.renderer), await forms.read_form(request)
        told, faults = words.words["subscribe"], dict[str, str]()
        found = await self.form.check(words, given, faults)
        if given.get("website"):  # people do not see this field
            faults["form"] = told["again"]
        if faults:
            return self._form(words, given, faults, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        if len(found) > 1:
            return self.form.render_choice(words, given, found)
        if not await self.sign_up.admits(forms.network_of(request, self.address_header)):
            return self._form(words, given, {"form": told["too_many"]}, status=HTTPStatus.TOO_MANY_REQUESTS)
        wish = DeviceWish(
            made_s=self.sign_up.links.now_s(), regions=(found[0],), general=bool(given.get("general")), once=new_once(),
            language=self.form.language(words, given),
        )  # fmt: skip
        return self._last_step(words, wish)

    async def register(self, request: web.Request) -> web.Response:
        """Registers a browser by the subscription that it posts. Returns the path of its settings."""
        subscription = PushSubscription.model_validate_json(await _body(request))
        try:
            result, name = await self.devices.register(request.match_info["token"], subscription)
        except Problem as problem:
            return web.json_response({"error": problem.slug}, status=HTTPStatus.CONFLICT)
        if result is not Confirmed.DONE:
            status = HTTPStatus.GONE if result is Confirmed.BROKEN else HTTPStatus.CONFLICT
            return web.json_response({"error": result.value}, status=status)
        return web.json_response({"next": f"/me/{self.sign_up.settings_token(name)}"})

    async def show_own(self, request: web.Request) -> web.Response:
        """Returns the page whose button opens the settings of this browser."""
        words = forms.words_of(request, self.renderer)
        told = words.words["subscribe"]
        return self._scripted(
            words, told["manage_title"], words.words["device"]["known"], "/subscribe/device/settings", told["settings"]
        )

    async def settings(self, request: web.Request) -> web.Response:
        """Returns the path of the settings of a browser that posts its subscription, or 404 if it is not signed up."""
        person = await self.devices.person(PushSubscription.model_validate_json(await _body(request)))
        if person is None:
            return web.json_response({"error": "not-found"}, status=HTTPStatus.NOT_FOUND)
        return web.json_response({"next": f"/me/{self.sign_up.settings_token(person.id)}"})

    async def renew(self, request: web.Request) -> web.Response:
        """Replaces the subscription of a browser."""
        renewed = Renewed.model_validate_json(await _body(request))
        is_known = renewed.before is not None and await self.devices.replace(renewed.before, renewed.subscription)
        return web.Response(status=HTTPStatus.NO_CONTENT if is_known else HTTPStatus.NOT_FOUND)

    async def manifest(self, request: web.Request) -> web.Response:
        """Returns the web app manifest, in the language of `?lang=`."""
        words = forms.words_of(request, self.renderer)
        told = words.words["device"]
        document = {
            "name": told["app"], "short_name": told["app"], "lang": words.language, "dir": words.direction,
            "start_url": f"/alerts?lang={words.language}", "scope": "/", "display": "standalone",
            "background_color": "#ffffff", "theme_color": "#0b57b0",
            "icons": [{"src": "/app-icon.png", "sizes": "512x512", "type": _ICON, "purpose": "any"}],
        }  # fmt: skip
        return _file(json.dumps(document, ensure_ascii=False).encode(), "application/manifest+json")

    async def worker(self, request: web.Request) -> web.Response:
        """Returns the service worker, with the constants of this site and the texts of `?lang=`."""
        words = forms.words_of(request, self.renderer)
        return _file(_worker(words, self.devices.application_server_key).encode(), "text/javascript")

    async def script(self, request: web.Request) -> web.Response:
        return _file(webpush_file(request.path.removeprefix("/")), "text/javascript")

    async def icon(self, _request: web.Request) -> web.Response:
        return _file(webpush_file("icon.png"), _ICON)

    def _form(
        self, words: Catalogue, given: Mapping[str, str], faults: Mapping[str, str], *, status: HTTPStatus = HTTPStatus.OK
    ) -> web.Response:  # fmt: skip
        told, device = words.words["subscribe"], words.words["device"]
        form = self.form.render(words, given, faults, consent=device["consent"], submit=told["next"], address=Markup())
        body = (
            forms.paragraph(device["lead"]) + forms.paragraph(device["no_broadcast"], "quiet") + form
            + forms.link("/subscribe/device/settings", device["known"])
            + (forms.link("/subscribe", told["title"]) if self.sign_up.is_open else Markup())
            + forms.link("/privacy", told["privacy"])
        )  # fmt: skip
        return forms.html_page(self.renderer, words, device["title"], body, status=status, path="/subscribe/device")

    def _last_step(self, words: Catalogue, wish: DeviceWish) -> web.Response:
        """Returns the page whose button asks the browser for its permission."""
        device = words.words["device"]
        names = words.listed([words.isolate(self.form.places.name(code, words.language)) for code in wish.regions])
        text = f"{words.words['subscribe']['confirm_text'].format(places=names)} {device['last_step']}"
        return self._scripted(
            words, device["title"], text, f"/subscribe/device/{self.sign_up.links.make(wish)}", device["allow"]
        )

    def _scripted(self, words: Catalogue, title: str, text: str, to: str, label: str) -> web.Response:
        """Returns a page with one button: its script posts the subscription of the browser to the path `to`, and opens
        the page that this answers. Without a script the page says so.
        """
        device = words.words["device"]
        texts = {
            "no-script": "no_script", "denied": "denied", "home-screen": "home", "unsupported": "unsupported", "failed": "failed"
        }  # fmt: skip
        # The script hides the first text, and shows another one when something fails.
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
    """Returns the body. Raises HTTPException if it is too large, slow or not JSON. Asking for JSON keeps forms of other
    sites out: browsers ask for permission first.
    """
    return await forms.read_body(request, "application/json", SUBSCRIPTION_BYTES)


def _file(body: bytes, content_type: str) -> web.Response:
    response = web.Response(body=body, content_type=content_type)
    response.headers[hdrs.CACHE_CONTROL] = f"public, max-age={KEEP_S}"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _with_scripts() -> str:
    """Returns the Content-Security-Policy of the page with a script: from alertd itself, and nothing inline."""
    policy = headers()["Content-Security-Policy"]
    return f"{policy}; script-src 'self'; connect-src 'self'; worker-src 'self'; manifest-src 'self'"


def _worker(words: Catalogue, key: str) -> str:
    """Returns the service worker of `ops/webpush`, set for alertd's own pages."""
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
    """Returns the routes of signing up a browser. Without a carrier of web push they answer 404."""
    form = SignUpForm(renderer=renderer, places=Places(sign_up.regions), links=sign_up.links)
    pages = DevicePages(sign_up=sign_up, devices=devices, renderer=renderer, form=form, address_header=address_header)

    def guarded(handler: Handler) -> Handler:
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
