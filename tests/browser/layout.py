"""What each page must keep to in any colour scheme and width, and at any speed."""

from __future__ import annotations

from typing import Literal, get_args

from tests.browser.desks import Desk

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)


#: How far a screen is wider than its window, in px.
TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


async def check_in_both_lights(window: Desk) -> None:
    for scheme in SCHEMES:
        await window.page.emulate_media(color_scheme=scheme)
        await window.check_readable()
    await window.check_readable("rtl")


#: Each push message is answered late: an alert to everybody is under way for several times as long.
SLOWLY = {"rules": [{"prefix": "", "do": "slow", "delay_s": 10}]}
