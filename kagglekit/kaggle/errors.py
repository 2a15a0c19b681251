"""What went wrong at Kaggle, in one line with what cures it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kagglekit.base.errors import UserError
from kagglekit.competitions import installed, plugins
from kagglekit.kaggle import retries
from kagglekit.kaggle.credentials import HOW, SETTINGS, Credentials

_LONGEST = 200
"""Letters of Kaggle's own message that are shown."""


class UnreachableError(UserError):
    """Kaggle gave no answer at all: no network, or trouble there; nothing is known of the competition."""


@dataclass(frozen=True)
class Context:
    """What was asked for, and by whom."""

    slug: str
    """The competition's name at Kaggle."""
    url: str
    """Its page."""
    credentials: Credentials

    def explain(self, error: Any) -> UserError:
        """Return what an error of requests means to the user."""
        import requests

        if isinstance(error, requests.HTTPError) and error.response is not None:
            if error.response.history:  # where the data lies knows neither rules nor accounts
                return UnreachableError(
                    f"Kaggle's storage refuses the download ({error.response.status_code}): type the command again."
                )
            return self._refusal(error.response.status_code, error)
        if isinstance(error, requests.exceptions.InvalidJSONError):
            return self.unreadable()
        return UnreachableError(
            f"{retries.reason(error)}: is there a network, and does it need a proxy (HTTPS_PROXY)? "
            "What has arrived is kept: type the command again."
        )

    def unreadable(self) -> UserError:
        """Return what an answer means that the official client can't read."""
        return UserError(
            "Kaggle's answer can't be read: a web page between here and Kaggle (a login, a proxy) may have answered; "
            "else a newer client may help: pip install -U kagglesdk."
        )

    def _refusal(self, code: int, error: Any) -> UserError:
        if code == 401:
            return UserError(f"Kaggle refuses the credentials in {self.credentials.source}: {HOW}.")
        if code == 403:
            return UserError(
                f"Kaggle refuses access to {self.slug} (403): accept its rules at {self.url}/rules, or verify your "
                f"phone at {SETTINGS}, or correct its slug in the plugin if that is wrong{self._nearest()}"
            )
        if code == 404:
            return UserError(f"Kaggle has no competition {self.slug!r} (404): correct the slug{self._nearest()}")
        if code == 429:
            wait = retries.wait_after(error.response, retries.ATTEMPTS)
            return UnreachableError(f"Kaggle limits the rate (429): type the command again in {wait:.0f} s.")
        if code >= 500:
            return UnreachableError(f"Kaggle has trouble ({code}): type the command again later; what came is kept.")
        return UserError(f"Kaggle refuses ({code}){self.told(error)}")

    def told(self, error: Any) -> str:
        """Return Kaggle's own words in one line, without secrets, after a colon; a full stop where it says nothing."""
        import requests

        try:
            message = error.response.json().get("message", "")
        except (requests.exceptions.JSONDecodeError, AttributeError):  # no JSON, or no object
            message = ""
        return f": {self.shown(message)[:_LONGEST]}" if message else "."

    def shown(self, message: object) -> str:
        """Return a text of Kaggle's in one short, printable line, without secrets."""
        printable = "".join(letter if letter.isprintable() else " " for letter in str(message))
        return self.credentials.redact(" ".join(printable.split()))

    def _nearest(self) -> str:
        slugs = set(_known_slugs())
        near = [] if self.slug in slugs else difflib.get_close_matches(self.slug, slugs, n=1)
        return f", did you mean {near[0]!r}?" if near else "."


def _known_slugs() -> Iterator[str]:
    """Yield what the installed competitions are called at Kaggle."""
    for listing in installed.listings():
        with suppress(UserError):  # another plugin's trouble is not this one's
            yield plugins.load(listing.name).competition().kaggle
