"""Credentials: the official client's order, its login, and no trace of them anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
import typer

from kagglekit.cli import app
from kagglekit.kaggle import credentials, retries
from tests import damage, drawing, trainers
from tests.conftest import Cli, Done, failed, succeeded
from tests.kaggle_server import KEY, TOKEN, USERNAME, State, page, status

DOGS = "dogs-vs-cats"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


def pair(path: Path, username: str = "filed", key: str = "filed-key") -> Path:
    return write(path, json.dumps({"username": username, "key": key}))


def login(folder: Path, hours: float, token: str = TOKEN) -> Path:
    expiration = (datetime.now(UTC) + timedelta(hours=hours)).isoformat()
    stored = {"refresh_token": "refresh-secret-77aa", "access_token": token, "access_token_expiration": expiration}
    return write(folder / ".kaggle" / "credentials.json", json.dumps(stored | {"username": "x", "scopes": []}))


def test_each_place_wins_over_those_behind_it(user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built up from the last place of the official client's order to the first."""
    assert credentials.find() is None

    login(user, 1, "of-the-login")
    assert (credentials.require().token, credentials.require().refresh_token) == ("of-the-login", "refresh-secret-77aa")

    pair(user / ".config" / "kaggle" / "kaggle.json", key="xdg")
    assert credentials.require().key == "xdg"
    pair(user / ".kaggle" / "kaggle.json", key="home")
    assert credentials.require().key == "home"
    pair(tmp_path / "configured" / "kaggle.json", key="configured")
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "configured"))
    assert credentials.require().key == "configured"

    monkeypatch.setenv("KAGGLE_KEY", "of-the-variable")
    assert (credentials.require().username, credentials.require().key) == ("filed", "of-the-variable")
    monkeypatch.setenv("KAGGLE_USERNAME", "varied")
    assert credentials.require().username == "varied"
    assert credentials.require().file is None

    write(user / ".kaggle" / "access_token", "of-the-file\n")
    assert (credentials.require().token, credentials.require().key) == ("of-the-file", "")

    monkeypatch.setenv("KAGGLE_API_TOKEN", str(write(tmp_path / "token", " in-a-named-file ")))
    assert credentials.require().token == "in-a-named-file"
    monkeypatch.setenv("KAGGLE_API_TOKEN", "the-value-itself")
    assert credentials.require().token == "the-value-itself"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (".kaggle/access_token.txt", TOKEN),
        (".kaggle/kaggle.json", json.dumps({"username": USERNAME, "key": KEY})),
        (".config/kaggle/kaggle.json", json.dumps({"username": USERNAME, "key": KEY})),
    ],
)
def test_kaggle_gets_what_was_found_in_a_file(
    cli: Cli, kaggle: State, user: Path, monkeypatch: pytest.MonkeyPatch, path: str, text: str
) -> None:
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    write(user / path, text)
    succeeded(cli("submissions", DOGS))
    assert kaggle.count("ListSubmissions") == 1


def test_kaggle_gets_the_pair_of_the_environment(cli: Cli, kaggle: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    monkeypatch.setenv("KAGGLE_USERNAME", USERNAME)
    monkeypatch.setenv("KAGGLE_KEY", KEY)
    succeeded(cli("submissions", DOGS))
    assert kaggle.seen[0].headers["Authorization"].startswith("Basic ")


def test_the_official_client_takes_no_others_that_it_would_prefer(
    cli: Cli, kaggle: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a notebook at Kaggle it would look for a token there before it takes a name and a key."""
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    monkeypatch.setenv("KAGGLE_USERNAME", USERNAME)
    monkeypatch.setenv("KAGGLE_KEY", KEY)
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    monkeypatch.setenv("KAGGLE_DATA_PROXY_URL", "http://nowhere.test")
    monkeypatch.setenv("KAGGLE_API_V1_TOKEN", str(write(tmp_path / "token", "of-the-notebook")))
    succeeded(cli("submissions", DOGS))
    assert kaggle.seen[0].headers["Authorization"].startswith("Basic ")


@pytest.mark.parametrize("hours", [2, -2])
def test_a_login_is_used_and_renewed_once_it_has_expired(
    cli: Cli, kaggle: State, user: Path, monkeypatch: pytest.MonkeyPatch, hours: float
) -> None:
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    file = login(user, hours, TOKEN if hours > 0 else "old")
    succeeded(cli("submissions", DOGS))
    assert kaggle.count("GenerateAccessToken") == (1 if hours < 0 else 0)
    succeeded(cli("submissions", DOGS))
    assert kaggle.count("GenerateAccessToken") == (1 if hours < 0 else 0)  # the new one is stored
    assert file.stat().st_mode & 0o077 == 0


def test_a_login_that_can_not_be_renewed_is_one_line(
    cli: Cli, kaggle: State, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    login(user, -2)
    kaggle.will("GenerateAccessToken", status(401, "expired"))
    assert "credentials.json" in failed(cli("submissions", DOGS))
    stored = {"refresh_token": "refresh-secret-77aa", "access_token": "x", "access_token_expiration": "soon"}
    write(user / ".kaggle" / "credentials.json", json.dumps(stored | {"username": "x", "scopes": []}))
    assert "credentials.json can't be read as a login" in failed(cli("submissions", DOGS))


@pytest.mark.parametrize("command", [("download", DOGS), ("submissions", DOGS)], ids=" ".join)
def test_without_credentials_it_says_how_to_get_some(cli: Cli, user: Path, command: tuple[str, ...]) -> None:
    said = failed(cli(*command))
    for words in ("no Kaggle credentials", "/settings", "~/.kaggle/access_token", "KAGGLE_API_TOKEN"):
        assert words in said


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"username": "x"}', '{"username": 1, "key": 2}'])
def test_a_file_without_a_key_is_none(user: Path, text: str) -> None:
    write(user / ".kaggle" / "kaggle.json", text or "{}")
    write(user / ".kaggle" / "access_token", " ")
    assert credentials.find() is None


@pytest.mark.parametrize("name", ["kaggle.json", "credentials.json"])
def test_a_broken_file_is_one_line_without_its_content(cli: Cli, user: Path, name: str) -> None:
    write(user / ".kaggle" / name, f'{{"key": "{KEY}')
    said = failed(cli("submissions", DOGS))
    assert name in said
    assert KEY not in said


def test_a_token_file_that_is_empty_or_binary_is_one_line(
    cli: Cli, user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", str(write(tmp_path / "token", "")))
    assert "is empty" in failed(cli("submissions", DOGS))
    (tmp_path / "token").write_bytes(b"\xff\xfe")
    assert "is not a text file" in failed(cli("submissions", DOGS))
    (tmp_path / "token").write_text(f"{TOKEN}\n{TOKEN}")
    said = failed(cli("submissions", DOGS))
    assert "a line break" in said
    assert TOKEN not in said


def test_a_mark_that_an_editor_puts_before_a_token_is_no_part_of_it(
    cli: Cli, kaggle: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", str(write(tmp_path / "token", f"\ufeff{TOKEN}\n")))
    succeeded(cli("submissions", DOGS))


def test_a_file_that_others_can_read_is_pointed_out(
    cli: Cli, kaggle: State, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    file = write(user / ".kaggle" / "access_token", TOKEN)
    assert "chmod" not in succeeded(cli("submissions", DOGS)).out
    file.chmod(0o644)
    assert (
        f"WARNING: other users of this machine can read your Kaggle credentials: chmod 600 {file}"
        in succeeded(cli("submissions", DOGS)).out
    )


def test_no_representation_has_a_secret() -> None:
    shown = repr(credentials.Credentials("somewhere", token=TOKEN, username=USERNAME, key=KEY, refresh_token="again"))
    assert "somewhere" in shown
    for secret in (TOKEN, USERNAME, KEY, "again"):
        assert secret not in shown


# no trace

SLUG = "dogs-vs-cats-redux-kernels-edition"
SECRETS = (TOKEN, KEY, "refresh-secret-77aa")


def in_environment(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)


def as_pair(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair(user / ".kaggle" / "kaggle.json", USERNAME, KEY).chmod(0o644)


def as_login(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    login(user, -2)


@pytest.mark.parametrize("given", [in_environment, as_pair, as_login])
def test_no_command_prints_or_writes_a_secret(
    cli: Cli,
    kaggle: State,
    user: Path,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: Callable[[Path, pytest.MonkeyPatch], None],
) -> None:
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    given(user, monkeypatch)
    kaggle.archive = drawing.dogs(tmp_path).read_bytes()
    kaggle.files = [f"{TOKEN}.csv"]
    kaggle.outcome = {"status": "ERROR", "errorDescription": f"never {TOKEN} or {KEY}"}
    parrot = f"you sent {TOKEN}, {KEY} and refresh-secret-77aa"
    mine = tmp_path / "mine.csv"
    mine.write_text("id,label\n" + "".join(f"{n},0.5\n" for n in range(1, 13)))
    said: list[Done] = []

    for fault in (status(401, parrot), status(400, parrot), status(403, parrot), status(500, parrot), page()):
        for name, command in (("ListDataFiles", "download"), ("ListSubmissions", "submissions")):
            kaggle.will(name, *[fault] * retries.ATTEMPTS)
            said.append(cli(command, DOGS))
            kaggle.faults.clear()
    kaggle.will("archive.zip", lambda exchange: exchange.bytes(parrot.encode(), "text/plain"))
    said.append(cli("download", DOGS))
    said.append(succeeded(cli("download", DOGS)))
    said.append(cli("submit", DOGS, mine, "-m", "mine", "--wait"))
    kaggle.will("CreateSubmission", status(400, parrot))
    said.append(cli("submit", DOGS, mine, "-m", "mine", "--force"))
    said.append(succeeded(cli("submissions", DOGS)))
    said.append(cli("doctor", DOGS))
    assert len(kaggle.submissions) == 1

    printed = "".join(done.out + done.err for done in said)
    assert "you sent" in printed
    own = set((user / ".kaggle").glob("*"))
    written = [path for place in (home, user, tmp_path) for path in place.rglob("*") if path.is_file()]
    assert any(path.name == "ledger.json" for path in written)
    assert "mine" in (home / DOGS / "ledger.json").read_text()
    for secret in SECRETS:
        if secret_is_ours(secret, given):
            assert secret not in printed
            for path in written:
                assert path in own or secret.encode() not in path.read_bytes(), path


def secret_is_ours(secret: str, given: object) -> bool:
    """Whether these credentials hold the secret: what Kaggle says of others' can't be known to be one."""
    held = {in_environment: (TOKEN,), as_pair: (KEY,), as_login: (TOKEN, "refresh-secret-77aa")}
    return secret in held[given]  # type: ignore[index]


def test_every_command_there_is_leaves_no_trace_of_a_token(
    cli: Cli, kaggle: State, tiny: str, user: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kaggle.archive = drawing.dogs(tmp_path / "at-kaggle").read_bytes()
    monkeypatch.chdir(tmp_path)
    trainers.spare(monkeypatch, pictures=True)
    small = ("--set", "image_size=32", "--set", "train_batch=6")
    said: dict[str, str] = {}

    def type_(command: str, *words: str | Path, code: int = 0) -> None:
        done = cli(command, *words)
        assert done.code == code, done.err
        said[command] = said.get(command, "") + done.out + done.err

    type_(
        "run",
        DOGS,
        "--backbone",
        tiny,
        "--folds",
        "2",
        "--set",
        "regularisation_grid=1",
        "--submit",
        "--wait",
        "-m",
        "first",
    )
    (features,) = (home / DOGS / "runs").iterdir()
    type_(
        "run", DOGS, "--backbone", tiny, "--method", "finetune", "--set", "phases=all epochs=1", "--folds", "2", *small
    )
    type_("download", DOGS)
    type_("submit", DOGS, "--run", features.name, "-m", "again", "--force", "--wait")
    type_("submissions", DOGS)
    type_("runs")
    type_("info", features.name)
    type_("info", DOGS)
    type_("list")
    type_("doctor", DOGS)
    type_("backbones", "lite")
    type_("lr-find", DOGS, "--backbone", tiny, *small)
    type_("augmentations", DOGS, "--set", f"backbone={tiny}", *small, "--images", "2", "--views", "2")
    type_("folders", DOGS, "laid-out", "--valid", "8")
    type_("export", features.name, "--output", "dogs.onnx")
    type_("predict", features.name, "laid-out", "--output", "predictions.csv")
    type_("bundle", features.name, "bundled")
    type_("new", "leaf", "--classes", "oak,elm", "--kaggle", SLUG)
    type_("check", "./kagglekit-leaf")
    type_("report", features.name)
    (other,) = {run for run in (home / DOGS / "runs").iterdir() if run != features}
    type_("guide")
    type_("compare", features.name, other.name)
    type_("blend", DOGS, features.name, other.name)
    type_("tune", DOGS, "--trials", "1", "--search", "output=logits", "--backbone", tiny, "--set", "folds=2")
    type_("rehearse", DOGS, "--seeds", "1", "--backbone", tiny, "--method", "features", "--set", "folds=2")
    with monkeypatch.context() as patch:
        damage.without_features(patch)
        type_("audit", DOGS)
    assert set(said) == set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]

    written = [path for place in (home, user, tmp_path) for path in place.rglob("*") if path.is_file()]
    kinds = {path.suffix for path in written}
    assert {
        ".json",
        ".toml",
        ".csv",
        ".parquet",
        ".png",
        ".onnx",
        ".safetensors",
        ".ipynb",
        ".py",
        ".zip",
        ".html",
    } <= kinds
    for command, text in said.items():
        assert TOKEN not in text, command
    for path in written:
        content = path.read_bytes()
        if path.suffix == ".parquet":  # which is compressed
            content += pd.read_parquet(path).to_csv().encode()
        assert TOKEN.encode() not in content, path
