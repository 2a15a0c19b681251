"""Requests to Kaggle for one competition, by the official client with our own time-outs and retries."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kagglekit.base import environment
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.competitions.competition import Competition
from kagglekit.kaggle import credentials, retries
from kagglekit.kaggle.credentials import HOW
from kagglekit.kaggle.errors import Context
from kagglekit.kaggle.types import Limits, Submission

if TYPE_CHECKING:
    import requests
    from kagglesdk import KaggleClient

Answer = TypeVar("Answer")

TIMEOUT = (10.0, 60.0)
"""Seconds to wait for a connection, and for the next bytes. The official client has no limit."""
_PAGE = 100
"""Number of submissions or files per request."""


def slug_of(competition: Competition) -> str:
    """Return the slug of a competition on Kaggle. Raises UserError if it has none."""
    if not competition.kaggle:
        raise UserError(f"{competition.name} has no Kaggle slug: set kaggle=… in its plugin.")
    return competition.kaggle


@contextmanager
def connect(competition: Competition, console: Console, attempts: int = retries.ATTEMPTS) -> Iterator[Kaggle]:
    """Find the credentials and yield a client. Nothing is sent yet, except to renew an expired login.

    Raises UserError if there are no credentials or the competition has no Kaggle slug.
    """
    slug = slug_of(competition)
    found = credentials.require()
    if found.exposed:
        console.warn(found.warning())
    import requests

    with requests.Session() as plain:
        kaggle = Kaggle(Context(slug, competition.url, found), console, plain, attempts)
        if found.refresh_token and not found.token:
            kaggle.context = replace(kaggle.context, credentials=replace(found, token=kaggle.renewed_token()))
        with kaggle.signed_in():
            yield kaggle


def _official(found: credentials.Credentials) -> KaggleClient:
    from kagglesdk import KaggleClient

    agent = f"kagglekit/{environment.installed_version('kagglekit')}"
    who = {"api_token": found.token} if found.token else {"username": found.username, "password": found.key}
    return KaggleClient(**who, user_agent=agent)


def _prepared(client: KaggleClient, found: credentials.Credentials) -> None:
    """Set time-outs and the found credentials on an open client, which might pick others by itself."""
    session = client.http_client()._session  # there is no public attribute
    session.send = functools.partial(session.send, timeout=TIMEOUT)
    session.headers["Accept-Encoding"] = "identity"  # Content-Length must count the bytes sent
    if not found.token and found.username:
        session.auth = (found.username, found.key)


class Kaggle:
    """Requests about one competition. Failures raise UserError."""

    def __init__(self, context: Context, console: Console, plain: requests.Session, attempts: int) -> None:
        """`plain` is a session for pre-signed addresses, which must not get the credentials."""
        self.context = context
        self._console = console
        self._plain = plain
        self._attempts = attempts
        self._api: Any = None

    @contextmanager
    def signed_in(self) -> Iterator[None]:
        """Keep the official client open inside the block."""
        with _official(self.context.credentials) as client:
            _prepared(client, self.context.credentials)
            self._api = client.competitions.competition_api_client
            yield

    def renewed_token(self) -> str:
        """Return a new token for the browser login. The official client also stores it."""
        from kagglesdk import KaggleCredentials

        with _official(self.context.credentials) as client:
            _prepared(client, self.context.credentials)
            try:
                login = KaggleCredentials.load(client=client)
            except (ValueError, TypeError) as error:
                raise UserError(f"{self.context.credentials.file} can't be read as a login: {HOW}.") from error
            self._ask(login.refresh_access_token)
            return str(login.get_access_token())

    def files(self) -> list[str]:
        """Return the names of the competition's first data files."""
        from kagglesdk.competitions.types.competition_api_service import ApiListDataFilesRequest

        request = ApiListDataFilesRequest()
        request.competition_name = self.context.slug
        request.page_size = _PAGE
        listed = self._ask(lambda: self._api.list_data_files(request)).files
        return [self.context.credentials.redact(str(file.name)) for file in listed]

    def archive(self) -> requests.Response:
        """Return an open response that streams the whole archive. The caller must close it."""
        from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFilesRequest

        request = ApiDownloadDataFilesRequest()
        request.competition_name = self.context.slug
        return self._ask(lambda: self._api.download_data_files(request))

    def rest_of(self, url: str, start: int, validator: str) -> requests.Response:
        """Return a response with the bytes of a file from `start`, or with all bytes if the file has changed.

        `validator` is the file's ETag or date. Raises exceptions of `requests`.
        """
        headers = {"Range": f"bytes={start}-", "Accept-Encoding": "identity"}
        headers |= {"If-Range": validator} if validator else {}
        return self._plain.get(url, headers=headers, stream=True, timeout=TIMEOUT)

    def limits(self) -> Limits:
        """Return the numbers of submissions made and left."""
        from kagglesdk.competitions.types.competition_api_service import ApiGetSubmissionLimitsRequest

        request = ApiGetSubmissionLimitsRequest()
        request.competition_name = self.context.slug
        found = self._ask(lambda: self._api.get_submission_limits(request))
        return Limits(found.num_today, found.num_total, found.num_allowed_now, bool(found.limited_by_total))

    def submissions(self, pages: int = 1) -> list[Submission]:
        """Return the user's submissions, newest first, from at most `pages` pages."""
        from kagglesdk.competitions.types.competition_api_service import ApiListSubmissionsRequest

        found: dict[int, Submission] = {}
        for page in range(1, pages + 1):
            request = ApiListSubmissionsRequest()
            request.competition_name = self.context.slug
            request.page, request.page_size = page, _PAGE
            answer = self._ask(functools.partial(self._api.list_submissions, request))
            new = [Submission.of(each, self.context.shown) for each in answer.submissions if each.ref not in found]
            if not new:
                break
            found |= {each.reference: each for each in new}
        return list(found.values())

    def upload(self, file: Path) -> str:
        """Upload a file without submitting it. Return the token of the upload."""
        return self._ask(lambda: self._upload(file))

    def _upload(self, file: Path) -> str:
        from kagglesdk.competitions.types.competition_api_service import ApiStartSubmissionUploadRequest

        request = ApiStartSubmissionUploadRequest()
        request.competition_name = self.context.slug
        request.file_name = file.name
        request.content_length = file.stat().st_size
        request.last_modified_epoch_seconds = int(file.stat().st_mtime)
        started = self._api.start_submission_upload(request)
        with file.open("rb") as content:
            answer = self._plain.put(started.create_url, data=content, timeout=TIMEOUT, allow_redirects=False)
        if 300 <= answer.status_code < 500 and answer.status_code not in (408, 429):
            raise UserError(
                f"Kaggle refused the upload of {file.name} ({answer.status_code}): nothing was submitted; "
                "repeat the command."
            )
        answer.raise_for_status()
        return str(started.token)

    def create(self, token: str, message: str) -> int:
        """Submit an upload, and return its reference. Never retries: a request that seems to fail may have succeeded.

        Raises exceptions of `requests`, and ValueError for an answer without a reference.
        """
        from kagglesdk.competitions.types.competition_api_service import ApiCreateSubmissionRequest

        request = ApiCreateSubmissionRequest()
        request.competition_name = self.context.slug
        request.blob_file_tokens = token
        request.submission_description = message
        reference = int(self._api.create_submission(request).ref)
        if reference == 0:
            raise ValueError("Kaggle gave no reference")
        return reference

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        import requests

        try:
            return retries.patiently(question, self._console.say, self._attempts)
        except requests.RequestException as error:
            raise self.context.explain(error) from error
        except (ValueError, KeyError, TypeError) as error:  # the official client could not parse the answer
            raise self.context.unreadable() from error
