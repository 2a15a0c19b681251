"""Kaggle's errors as one-line messages that suggest a fix."""

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
"""Largest number of characters shown of Kaggle's message."""


class UnreachableError(UserError):
    """Raised without a usable answer from Kaggle: a problem of the network or server, not of the competition."""


@dataclass(frozen=True)
class Context:
    """The competition and the credentials of the requests."""

    slug: str
    """The competition's slug on Kaggle."""
    url: str
    """The competition's page."""
    credentials: Credentials

    def explain(self, error: Any) -> UserError:
        """Return the UserError for an exception of `requests`."""
        import requests

        if isinstance(error, requests.HTTPError) and error.response is not None:
            if error.response.history:  # the storage server knows neither rules nor accounts
                return UnreachableError(
                    f"Kaggle's storage refuses the download ({error.response.status_code}): repeat the command."
                )
            return self._refusal(error.response.status_code, error)
        if isinstance(error, requests.exceptions.InvalidJSONError):
            return self.unreadable()
        return UnreachableError(
            f"{retries.reason(error)}: is there a network, and does it need a proxy (HTTPS_PROXY)? "
            "Bytes that arrived are kept: repeat the command."
        )

    def unreadable(self) -> UserError:
        """Return the UserError for an answer that the official client can't parse."""
        return UserError(
            "Kaggle's answer can't be read: a web page (a login, a proxy) may have answered instead; if not, update "
            "the client: pip install -U kagglesdk."
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
            return UnreachableError(f"Kaggle limits the rate (429): repeat the command in {wait:.0f} s.")
        if code >= 500:
            return UnreachableError(f"Kaggle has a problem ({code}): repeat the command later; it resumes.")
        return UserError(f"Kaggle refuses the request ({code}){self.told(error)}")

    def told(self, error: Any) -> str:
        """Return a colon and Kaggle's message on one line, without secrets; a full stop if there is no message."""
        import requests

        try:
            message = error.response.json().get("message", "")
        except (requests.exceptions.JSONDecodeError, AttributeError):  # no JSON, or no object
            message = ""
        return f": {self.shown(message)[:_LONGEST]}" if message else "."

    def shown(self, message: object) -> str:
        """Return a text from Kaggle as one printable line, without secrets."""
        printable = "".join(letter if letter.isprintable() else " " for letter in str(message))
        return self.credentials.redact(" ".join(printable.split()))

    def _nearest(self) -> str:
        slugs = set(_known_slugs())
        near = [] if self.slug in slugs else difflib.get_close_matches(self.slug, slugs, n=1)
        return f", did you mean {near[0]!r}?" if near else "."


def _known_slugs() -> Iterator[str]:
    """Yield the Kaggle slugs of the installed competitions."""
    for listing in installed.listings():
        with suppress(UserError):  # a broken plugin must not hide the others
            yield plugins.load(listing.name).competition().kaggle
