"""Sample people around real towns, for the demo, drills with the sandbox and benchmarks. All are fictitious.

`towns.csv`: positions and populations from GeoNames (geonames.org, CC BY 4.0).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

#: Longitude and latitude of a city. More than half of all sample people live near it, so that an alert there is worth
#: watching.
CENTRE = (-5.98, 37.39)
NEAR_DEGREES = 0.6
NEAR_SHARE = 0.6
#: Shares of the sample people with the app, with a phone number, with a mailbox.
SHARES = {"push": 0.82, "sms": 0.12, "mail": 0.06}
#: One sample person in this many also has a browser, at the sandbox's push service. All browsers there have the same
#: keys.
A_BROWSER_OF = 25
BROWSER = "https://push.example/push/"
BROWSER_KEYS = {
    "p256dh": "BDGbTCpK5Hyg6msT1eNtzNluc3HvsB0SWRupKuyJf19xpgoxr1KXvqUNkSE8-Civ_y4Aaujsh6sefV8zGyArSkg",
    "auth": "c2FuZGJveCBicm93c2VyIQ",
}
LANGUAGES = {"ES": ("es", "en", "ar"), "FR": ("fr", "en", "ar"), "CH": ("fr", "en", "es")}
LANGUAGE_SHARES = (0.85, 0.1, 0.05)
SPREAD_DEGREES = 0.012  # about a kilometre: the towns' people live around their middle


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One sample subscriber."""

    id: str
    lon: float
    lat: float
    language: str
    push: str | None
    webpush: str | None  # an endpoint
    sms: str | None
    mail: str | None

    def document(self) -> dict[str, Any]:
        """Returns the registration of this person, as the API takes it."""
        addresses: list[dict[str, Any]] = []
        for channel, name, value in (
            ("push", "token", self.push), ("sms", "number", self.sms), ("mail", "mailbox", self.mail),
        ):  # fmt: skip
            if value is not None:
                addresses.append({"channel": channel, name: value})
        if self.webpush is not None:
            addresses.append({"channel": "webpush", "subscription": {"endpoint": self.webpush, "keys": BROWSER_KEYS}})
        return {
            "languages": [self.language],
            "kinds": ["missing-child", "general"],
            "places": {"home": {"point": [self.lon, self.lat]}},
            "addresses": addresses,
            "consent": {"at": "2026-01-01T00:00:00Z", "source": "sample"},
        }


def people(count: int, seed: int = 1) -> Iterator[Person]:
    """Yields the first `count` sample people of a seed. A seed always gives the same people."""
    chance = np.random.default_rng(seed)
    known = towns()
    weights = _weights(known)
    chosen = chance.choice(len(known), count, p=weights)
    offsets = chance.normal(0, SPREAD_DEGREES, (count, 2))
    draws = chance.random((count, 4))
    for i, (town, offset, draw) in enumerate(zip(chosen.tolist(), offsets.tolist(), draws.tolist(), strict=True)):
        _, country, lon, lat, _ = known[town]
        spoken = LANGUAGES.get(country, ("en", "es", "fr"))
        yield Person(
            id=f"sample-{seed}-{i}",
            lon=round(lon + offset[0], 6),
            lat=round(lat + offset[1], 6),
            language=spoken[int(np.searchsorted(np.cumsum(LANGUAGE_SHARES), draw[3]).clip(0, 2))],
            push=f"sample-token-{seed}-{i}" if draw[0] < SHARES["push"] else None,
            webpush=f"{BROWSER}sample-{seed}-{i}" if i % A_BROWSER_OF == 0 else None,
            sms=f"+346{seed % 10}{i:07d}" if draw[1] < SHARES["sms"] else None,
            mail=f"sample-{seed}-{i}@people.example" if draw[2] < SHARES["mail"] or _silent(draw) else None,
        )


def _silent(draw: list[float]) -> bool:
    """Returns whether the draw gives the person no push token and no phone number, so that a mailbox is needed."""
    return draw[0] >= SHARES["push"] and draw[1] >= SHARES["sms"]


def towns() -> list[tuple[str, str, float, float, int]]:
    """Returns name, country, longitude, latitude and population of each town."""
    with (Path(__file__).parent / "towns.csv").open(encoding="utf-8", newline="") as file:
        return [
            (row["name"], row["country"], float(row["lon"]), float(row["lat"]), int(row["population"]))
            for row in csv.DictReader(file)
        ]


def _weights(towns: list[tuple[str, str, float, float, int]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Returns for each town the probability that a sample person lives there: by population, NEAR_SHARE of them near CENTRE."""
    population = np.array([town[4] for town in towns], float)
    near = np.array([abs(t[2] - CENTRE[0]) < NEAR_DEGREES and abs(t[3] - CENTRE[1]) < NEAR_DEGREES for t in towns])
    weights = np.where(near, NEAR_SHARE * population / population[near].sum(), 0.0)
    weights += np.where(~near, (1 - NEAR_SHARE) * population / population[~near].sum(), 0.0)
    shares: np.ndarray[Any, np.dtype[np.float64]] = weights / weights.sum()
    return shares
