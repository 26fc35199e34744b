"""Web pages for the public, which need no key: pages about alerts, sign-up, and alerts as an Atom feed and CAP
documents.
"""

from __future__ import annotations

from aiohttp import web

from alertd.common.clock import Clock
from alertd.public.alert_pages import page_routes
from alertd.public.answers import FRESH_S, WAITING
from alertd.public.devices import device_routes
from alertd.public.feed import feed_routes
from alertd.public.sign_up import sign_up_routes
from alertd.service.container import Container

__all__ = ["FRESH_S", "WAITING", "feed_routes", "page_routes", "public_routes"]


def public_routes(parts: Container, clock: Clock) -> list[web.RouteDef]:
    """Returns the routes of all public pages and files. `parts` has the services that they use."""
    return [
        *feed_routes(parts.feeds, parts.settings.api.reached_at, clock),
        *page_routes(
            parts.public_alerts,
            parts.renderer,
            clock,
            may_sign_up=parts.sign_up.is_open,
            on_device=parts.device_sign_up.is_open,
        ),
        *device_routes(parts.sign_up, parts.device_sign_up, parts.renderer, parts.settings.sign_in.address_header),
        *sign_up_routes(
            parts.sign_up, parts.renderer, parts.settings.sign_in.address_header, on_device=parts.device_sign_up.is_open
        ),
    ]
