"""Kaggle credentials: found in the same order as by the official client, passed to it and never shown."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kagglekit.base.errors import UserError

SETTINGS = "https://www.kaggle.com/settings"
"""Page where users create tokens and verify their phone."""
HOW = f"create a token at {SETTINGS} (API) and save it as ~/.kaggle/access_token, or set KAGGLE_API_TOKEN to it"


@dataclass(frozen=True)
class Credentials:
    """A token, or a username and key. `repr` shows none of them."""

    source: str
    """Place where the credentials were found, for messages."""
    file: Path | None = None
    """File with the credentials, if any."""
    token: str = field(default="", repr=False)
    username: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    """Token that renews an expired token of the browser login."""

    @property
    def exposed(self) -> bool:
        """Whether other users of this machine can read the file."""
        return self.file is not None and os.name == "posix" and bool(self.file.stat().st_mode & 0o077)

    def warning(self) -> str:
        """Return the warning for an exposed file."""
        return f"other users of this machine can read your Kaggle credentials: chmod 600 {self.file}"

    def redact(self, text: str) -> str:
        """Remove the secrets that a text from Kaggle may contain."""
        for secret in (self.token, self.key, self.refresh_token):
            text = text.replace(secret, "***") if secret else text
        return text


def find() -> Credentials | None:
    """Return the credentials that the official client would use, or None. Raises UserError for a broken file."""
    looks: tuple[Callable[[], Credentials | None], ...] = (_token_variable, _token_file, _name_and_key, _login)
    found = next((found for look in looks if (found := look()) is not None), None)
    if found is not None:
        _check_letters(found)
    return found


def _check_letters(found: Credentials) -> None:
    for secret in (found.token, found.username, found.key):
        if not (secret.isascii() and secret.isprintable()) or " " in secret:
            raise UserError(
                f"{found.source} has characters that credentials can't have, for example a line break: {HOW}."
            )


def require() -> Credentials:
    """Return the credentials. If there are none, raise UserError, which explains how to get some."""
    found = find()
    if found is None:
        raise UserError(f"no Kaggle credentials found: {HOW}.")
    return found


def _folder() -> Path:
    return Path("~/.kaggle").expanduser()


def _token_variable() -> Credentials | None:
    """Read KAGGLE_API_TOKEN, which is a token or the path of a file with one."""
    value = os.environ.get("KAGGLE_API_TOKEN", "").strip()
    if not value:
        return None
    try:
        is_file = Path(value).is_file()
    except OSError:  # a token may be too long for a file name
        is_file = False
    if not is_file:
        return Credentials("KAGGLE_API_TOKEN", token=value)
    return Credentials(f"{value} (KAGGLE_API_TOKEN)", Path(value), token=_required_text(Path(value)))


def _required_text(file: Path) -> str:
    text = _text(file)
    if not text:
        raise UserError(f"KAGGLE_API_TOKEN names {file}, which is empty: {HOW}.")
    return text


def _token_file() -> Credentials | None:
    for name in ("access_token", "access_token.txt"):  # editors on Windows add the extension
        file = _folder() / name
        token = _text(file)
        if token:
            return Credentials(str(file), file, token=token)
    return None


def _name_and_key() -> Credentials | None:
    """Read kaggle.json; KAGGLE_USERNAME and KAGGLE_KEY override its values."""
    configured = os.environ.get("KAGGLE_CONFIG_DIR")
    folders = [Path(configured).expanduser()] if configured else [_folder(), _xdg_folder()]
    file = next((folder / "kaggle.json" for folder in folders if (folder / "kaggle.json").is_file()), None)
    variables = {name: os.environ.get(f"KAGGLE_{name.upper()}", "") for name in ("username", "key")}
    if all(variables.values()):
        return Credentials("KAGGLE_USERNAME and KAGGLE_KEY", None, **variables)
    stored = {} if file is None else _json(file)
    pair = {name: value or _string(stored, name) for name, value in variables.items()}
    if not all(pair.values()):
        return None
    overlaid = [f"KAGGLE_{name.upper()}" for name, value in variables.items() if value]
    return Credentials(f"{file}{''.join(f' and {name}' for name in overlaid)}", file, **pair)


def _xdg_folder() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "kaggle"


def _login() -> Credentials | None:
    """Read the tokens of `kaggle auth login`: one that is valid for hours, and one that renews it."""
    file = _folder() / "credentials.json"
    stored = _json(file) if file.is_file() else {}
    refresh_token = _string(stored, "refresh_token")
    if not refresh_token:
        return None
    token = "" if _has_expired(_string(stored, "access_token_expiration")) else _string(stored, "access_token")
    return Credentials(str(file), file, token=token, refresh_token=refresh_token)


def _has_expired(when: str) -> bool:
    try:
        expiration = datetime.fromisoformat(when)
    except ValueError:
        return True
    return expiration.astimezone(UTC) <= datetime.now(UTC)


def _string(stored: dict[str, Any], name: str) -> str:
    value = stored.get(name)
    return value.strip() if isinstance(value, str) else ""


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig").strip()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return ""
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not a text file: {HOW}.") from error


def _json(file: Path) -> dict[str, Any]:
    try:
        stored = json.loads(_text(file))
    except json.JSONDecodeError as error:
        raise UserError(f"{file} is not JSON: download it again at {SETTINGS}, or remove it; or {HOW}.") from error
    return stored if isinstance(stored, dict) else {}
