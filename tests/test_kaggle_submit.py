"""`kagglekit submit` and `submissions` through the real client: checked, sent once, followed, and written down."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kagglekit.base import storage
from kagglekit.cli import main
from kagglekit.kaggle import client, retries, submit
from kagglekit.runs import store
from tests import damage, drawing, kaggle_server
from tests.conftest import Cli, failed, succeeded
from tests.kaggle_server import Fault, State, hang, page, status

DOGS = "dogs-vs-cats"
SLUG = "dogs-vs-cats-redux-kernels-edition"
QUICK = ("--folds", "2", "--set", "regularisation_grid=1")


@pytest.fixture(scope="module")
def finished(tiny_export: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a synthetic run, a run on drawn images that were downloaded as real ones, and one on a sample."""
    spec, cache = tiny_export
    home = tmp_path_factory.mktemp("finished")
    shutil.copytree(cache, home / ".cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAGGLEKIT_HOME", str(home))

        def type_(*words: str) -> None:
            patch.setattr(sys, "argv", ["kagglekit", *words])
            with pytest.raises(SystemExit) as end:
                main()
            assert not end.value.code

        run = ("run", DOGS, "--backbone", spec, *QUICK)
        type_(*run)
        state = State(archive=drawing.dogs(tmp_path_factory.mktemp("drawn")).read_bytes())
        with kaggle_server.serving(state) as address:
            for name, value in kaggle_server.environment(address).items():
                patch.setenv(name, value)
            type_("download", DOGS)
        type_(*run, "--set", "finish=")  # finds what was downloaded without --data
        type_(*run, "--sample", "16")
    return home


@pytest.fixture
def place(finished: Path, home: Path) -> Path:
    """This test's own copy of the competition's workspace."""
    shutil.copytree(finished / DOGS, home / DOGS)
    return home / DOGS


@pytest.fixture
def real(place: Path) -> store.Run:
    """The whole, real run."""
    (found,) = (run for run in everything(place) if not run.synthetic and not run.finished().sample)
    return found


def everything(place: Path) -> list[store.Run]:
    return [store.Run(path.parent) for path in place.rglob("run.json")]


@pytest.fixture
def drawn_run(place: Path) -> store.Run:
    (found,) = (run for run in everything(place) if run.synthetic)
    return found


def ledger(place: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((place / "ledger.json").read_text())
    return rows


def sent(kaggle: State) -> bool:
    """Whether any byte of a file left."""
    return any(kaggle.count(name) for name in ("StartSubmissionUpload", "upload", "CreateSubmission"))


def test_a_run_is_sent_scored_and_written_down(cli: Cli, kaggle: State, place: Path, real: store.Run) -> None:
    kaggle.pending_looks = 3
    done = succeeded(cli("submit", DOGS, "--run", real.id[-8:], "-m", "two  views", "--wait"))
    assert kaggle.uploads["uploaded"] == real.submission.read_bytes()
    (created,) = kaggle.named("CreateSubmission")
    assert created.json == {
        "competitionName": SLUG, "blobFileTokens": "uploaded", "submissionDescription": "two views",
    }  # fmt: skip
    assert "Authorization" not in kaggle.named("upload")[0].headers
    for words in ("12 rows, checked against the sample submission", "left today: 5", "0.04321", "0.05432"):
        assert words in done.out
    (row,) = ledger(place)
    assert row == {
        "reference": 1001,
        "date": "2026-11-25T04:05:06Z",
        "status": "COMPLETE",
        "public_score": 0.04321,
        "private_score": 0.05432,
        "reason": "",
        "message": "two views",
        "file": "submission.csv",
        "sha256": storage.file_sha256(real.submission),
        "run": real.id,
        "recipe": row["recipe"],
        "commit": json.loads((real.folder / "run.json").read_text())["git_commit"],
        "metric": "log loss",
        "out_of_fold": real.finished().out_of_fold,
        "transductive": "",
    }
    assert len(row["recipe"]) == 16
    assert json.loads((real.folder / "kaggle.json").read_text()) == row


def test_waiting_takes_ever_longer_pauses(cli: Cli, kaggle: State, real: store.Run, pauses: list[float]) -> None:
    kaggle.pending_looks = 6
    succeeded(cli("submit", DOGS, "--wait"))
    assert pauses == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_a_score_that_does_not_come_is_one_line_and_comes_later(
    cli: Cli, kaggle: State, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit, "_LOOKS", 3)
    kaggle.pending_looks = 3
    assert "not scored yet" in failed(cli("submit", DOGS, "--wait"))
    assert ledger(place)[0]["status"] == "PENDING"
    assert "0.04321" in succeeded(cli("submissions", DOGS)).out
    assert ledger(place)[0]["status"] == "COMPLETE"


def test_the_same_command_goes_on_waiting_for_what_was_sent(
    cli: Cli, kaggle: State, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit, "_LOOKS", 2)
    kaggle.pending_looks = 4
    failed(cli("submit", DOGS, "--wait"))
    done = succeeded(cli("submit", DOGS, "--wait"))
    assert "0.04321" in done.out
    assert "not sent again" in done.out
    assert kaggle.count("upload") == len(ledger(place)) == 1


def test_an_error_of_scoring_is_a_failure_with_its_reason(
    cli: Cli, kaggle: State, place: Path, real: store.Run
) -> None:
    kaggle.outcome = {"status": "ERROR", "errorDescription": "Submission must have\n12 rows"}
    said = failed(cli("submit", DOGS, "--wait"))
    assert "can't score submission 1001: Submission must have 12 rows" in said
    assert json.loads((real.folder / "kaggle.json").read_text())["reason"] == "Submission must have 12 rows"
    assert "an error: Submission must have 12 rows" in failed(cli("submit", DOGS))


def test_without_a_name_the_best_whole_real_run_is_sent(cli: Cli, kaggle: State, place: Path, real: store.Run) -> None:
    done = succeeded(cli("submit", DOGS))
    assert f"submission.csv of run {real.id}" in done.out
    assert "next: kagglekit submissions dogs-vs-cats" in done.out
    (row,) = ledger(place)
    assert (row["run"], row["status"], row["public_score"]) == (real.id, "PENDING", None)
    assert row["message"].startswith("test_resnet, out-of-fold 0.")


def test_a_file_of_the_users_own_has_no_run(
    cli: Cli, kaggle: State, place: Path, real: store.Run, tmp_path: Path
) -> None:
    frame = pd.read_csv(real.submission).assign(label=0.25)
    frame.to_csv(tmp_path / "blend.csv", index=False)
    succeeded(cli("submit", DOGS, tmp_path / "blend.csv", "-m", "blend"))
    (row,) = ledger(place)
    assert (row["run"], row["out_of_fold"], row["file"]) == ("", None, "blend.csv")
    assert not (real.folder / "kaggle.json").exists()


def test_a_file_in_a_plugin_s_own_format_is_checked_against_its_sample(
    cli: Cli, kaggle: State, pets: damage.Given, home: Path, tmp_path: Path
) -> None:
    hook = "\n\n@hookimpl\ndef submission(ids):\n    return pd.DataFrame({'image': ids, 'mask': ''})\n"
    pets.write_plugin(damage.PETS.replace('Probability(of="dog")', 'OwnFormat(id="image")'), hook)
    damage.write(pets.data, {"sample_submission.csv": b"image,mask\n3,\n1,\n"})
    shutil.copytree(pets.data, home / "pets" / "data")
    mine = damage.write(tmp_path, {"mine.csv": b"image,mask\n1,7 2\n"}) / "mine.csv"
    assert "mine.csv was not sent, Kaggle would refuse it: 1 ids ('3') missing" in failed(
        cli("submit", pets.plugin, mine)
    )
    mine.write_bytes(b"image,mask\n1,7 2\n3,\n")
    done = succeeded(cli("submit", pets.plugin, mine))
    assert "mine.csv is valid: 2 rows, checked against the sample submission" in done.out
    assert kaggle.uploads["uploaded"] == mine.read_bytes()


def test_digits_that_were_cut_are_no_reason_to_refuse_a_users_own_file(
    cli: Cli, kaggle: State, home: Path, tmp_path: Path
) -> None:
    kaggle.archive = drawing.drivers(tmp_path).read_bytes()
    succeeded(cli("download", "state-farm"))
    mine = tmp_path / "mine.csv"
    head = "img," + ",".join(f"c{n}" for n in range(10))
    for row, refused in ((",0.3334" * 3 + ",0" * 7, False), (",0.34" * 3 + ",0" * 7, True)):
        mine.write_text(head + "\n" + "".join(f"img_{900 + n}.jpg{row}\n" for n in range(8)))
        done = cli("submit", "state-farm", mine)
        assert ("do not sum to 1" in done.err) == refused == bool(done.code), done.err


def test_a_copy_of_a_runs_file_is_known_to_be_the_runs(
    cli: Cli, kaggle: State, place: Path, real: store.Run, tmp_path: Path
) -> None:
    shutil.copy(real.submission, tmp_path / "copy.csv")
    succeeded(cli("submit", DOGS, tmp_path / "copy.csv"))
    assert ledger(place)[0]["run"] == real.id


# what is not sent


def test_the_same_bytes_are_sent_once_unless_forced(
    cli: Cli, kaggle: State, place: Path, real: store.Run, tmp_path: Path
) -> None:
    succeeded(cli("submit", DOGS, "--wait"))
    shutil.copy(real.submission, tmp_path / "other.csv")
    said = failed(cli("submit", DOGS, tmp_path / "other.csv"))
    assert "sent before, as submission 1001 on 2026-11-25 (public score 0.04321)" in said
    assert kaggle.count("upload") == 1
    succeeded(cli("submit", DOGS, "--force"))
    assert [row["reference"] for row in ledger(place)] == [1001, 1002]
    assert json.loads((real.folder / "kaggle.json").read_text())["reference"] == 1002


def test_a_synthetic_run_is_never_sent(
    cli: Cli, kaggle: State, place: Path, drawn_run: store.Run, tmp_path: Path
) -> None:
    shutil.copy(drawn_run.submission, tmp_path / "submission.csv")
    for words in (("--run", drawn_run.id), (drawn_run.submission,), (tmp_path / "submission.csv",)):
        assert "SYNTHETIC" in failed(cli("submit", DOGS, *words, "--force"))
    assert kaggle.seen == []


def test_a_run_on_a_sample_is_sent_only_if_forced(cli: Cli, kaggle: State, place: Path) -> None:
    (sampled,) = (run for run in everything(place) if run.finished().sample and not run.synthetic)
    assert "sample" in failed(cli("submit", DOGS, "--run", sampled.id))
    assert kaggle.seen == []
    succeeded(cli("submit", DOGS, "--run", sampled.id, "--force"))


def edits() -> dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]]:
    def repeated(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([frame, frame.iloc[:1]])

    return {
        "missing": (lambda frame: frame.iloc[1:], "missing"),
        "twice": (repeated, "more than once"),
        "strange": (lambda frame: frame.assign(id=frame["id"] + 1000), "missing"),
        "columns": (lambda frame: frame.rename(columns={"label": "dog"}), "columns"),
        "text": (lambda frame: frame.assign(label="dog"), "hold no number"),
        "empty": (lambda frame: frame.assign(label=""), "hold no number"),
        "range": (lambda frame: frame.assign(label=1.5), "outside 0 to 1"),
    }


@pytest.mark.parametrize("edit", edits())
def test_what_kaggle_would_refuse_is_not_sent(
    cli: Cli, kaggle: State, real: store.Run, tmp_path: Path, edit: str
) -> None:
    change, word = edits()[edit]
    change(pd.read_csv(real.submission)).to_csv(tmp_path / "mine.csv", index=False)
    said = failed(cli("submit", DOGS, tmp_path / "mine.csv"))
    assert "mine.csv was not sent, Kaggle would refuse it" in said
    assert word in said
    assert kaggle.seen == []


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'a,"b\n1'])
def test_what_is_no_csv_is_one_line(cli: Cli, kaggle: State, place: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.csv").write_bytes(content)
    assert "mine.csv" in failed(cli("submit", DOGS, tmp_path / "mine.csv"))
    assert kaggle.seen == []


def test_a_runs_file_that_was_changed_is_not_the_runs(cli: Cli, kaggle: State, real: store.Run) -> None:
    pd.read_csv(real.submission).assign(label=0.5).to_csv(real.submission, index=False)
    assert "has changed" in failed(cli("submit", DOGS, "--run", real.id))
    real.submission.unlink()
    assert "any more" in failed(cli("submit", DOGS, "--run", real.id))
    (real.folder / "result.json").unlink()
    assert "not finished" in failed(cli("submit", DOGS, "--run", real.id))
    said = failed(cli("submit", DOGS))
    assert "no finished run of dogs-vs-cats to submit (the 2 finished are synthetic, or used a sample)" in said
    assert kaggle.seen == []


def test_a_run_without_test_images_is_never_sent(cli: Cli, kaggle: State, place: Path, real: store.Run) -> None:
    trained = shutil.copytree(real.folder, real.folder.with_name(f"{real.folder.name}-trained"))
    result = json.loads((trained / "result.json").read_text())
    (trained / "result.json").write_text(json.dumps(result | {"out_of_fold": 0.0, "submission_sha256": ""}))
    (trained / real.submission.name).unlink()
    assert "there were no test images" in failed(cli("submit", DOGS, "--run", trained.name))
    assert kaggle.seen == []
    succeeded(cli("submit", DOGS))
    assert [row["run"] for row in ledger(place)] == [real.id]
    shutil.rmtree(real.folder)
    assert f"run {trained.name[:8]}" in failed(cli("submit", DOGS)), "that it had no test images is the reason"
    for run in everything(place):
        shutil.rmtree(run.folder)
    assert "no finished run of dogs-vs-cats to submit: `kagglekit run" in failed(cli("submit", DOGS))


def test_impossible_wishes_are_one_line(cli: Cli, kaggle: State, real: store.Run) -> None:
    assert "not both" in failed(cli("submit", DOGS, real.submission, "--run", real.id))
    assert "no file" in failed(cli("submit", DOGS, "nowhere.csv"))
    assert "belongs to dogs-vs-cats" in failed(cli("submit", "state-farm", "--run", real.id))
    assert "no run" in failed(cli("submit", DOGS, "--run", "nonsense"))
    assert kaggle.seen == []


def test_without_data_a_run_is_checked_by_its_own_test_images(
    cli: Cli, kaggle: State, place: Path, real: store.Run, tmp_path: Path
) -> None:
    shutil.rmtree(place / "data")
    shutil.copy(real.submission, tmp_path / "copy.csv")
    pd.read_csv(real.submission).assign(label=0.5).to_csv(tmp_path / "mine.csv", index=False)
    said = failed(cli("submit", DOGS, tmp_path / "mine.csv"))
    assert "kagglekit download dogs-vs-cats" in said
    assert "12 rows, checked against the run's test images" in succeeded(cli("submit", DOGS)).out


def test_a_day_without_submissions_left_is_seen_before_the_upload(cli: Cli, kaggle: State, place: Path) -> None:
    kaggle.left, kaggle.counted = 0, 5
    said = failed(cli("submit", DOGS))
    assert "0 submissions are left today" in said
    assert "5 used" in said
    assert not sent(kaggle)
    assert ledger(place) == []
    kaggle.limited_by_total = True
    said = failed(cli("submit", DOGS))
    assert "today or later" in said
    assert SLUG in said
    assert "00:00" not in said


def test_who_is_in_no_team_yet_has_no_limits_to_read(cli: Cli, kaggle: State, place: Path) -> None:
    kaggle.left = kaggle.counted = 0
    succeeded(cli("submit", DOGS))


# trouble


@pytest.mark.parametrize(
    ("name", "fault", "word"),
    [
        ("ListSubmissions", status(401, "no"), "credentials"),
        ("ListSubmissions", page(), "can't be read"),
        ("GetSubmissionLimits", status(403, "no"), f"{SLUG}/rules"),
        ("StartSubmissionUpload", status(403, "no"), f"{SLUG}/rules"),
        ("upload", lambda exchange: exchange.bytes(b"no", "text/plain", 403), "refused the upload"),
        (
            "upload",
            lambda exchange: exchange.head(302, {"Location": "http://storage.test/archive.zip"}),
            "(302): nothing was submitted",
        ),
        ("CreateSubmission", status(400, "Daily limit"), "400): Daily limit"),
        ("CreateSubmission", status(403, "no"), f"{SLUG}/rules"),
    ],
)
def test_a_refusal_is_a_failure_and_leaves_no_row(
    cli: Cli, kaggle: State, place: Path, name: str, fault: Fault, word: str
) -> None:
    kaggle.will(name, fault)
    assert word in failed(cli("submit", DOGS, "--wait"))
    assert kaggle.submissions == []
    assert not (place / "ledger.json").exists() or ledger(place) == []
    assert not list(place.rglob("kaggle.json"))
    succeeded(cli("submit", DOGS, "--wait"))
    assert len(kaggle.submissions) == len(ledger(place)) == 1


@pytest.mark.parametrize("name", ["ListSubmissions", "GetSubmissionLimits", "upload", "CreateSubmission"])
def test_passing_trouble_is_waited_for_and_it_is_sent_once(
    cli: Cli, kaggle: State, place: Path, pauses: list[float], name: str
) -> None:
    kaggle.will(name, status(429, "slowly", "9"), status(503))
    succeeded(cli("submit", DOGS))
    assert pauses == [9.0, 2.0]
    assert len(kaggle.submissions) == len(ledger(place)) == 1


def test_an_upload_that_hangs_is_given_up_and_nothing_is_submitted(
    cli: Cli, kaggle: State, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "TIMEOUT", (5.0, 0.1))
    kaggle.will("upload", *[hang] * retries.ATTEMPTS)
    assert "in time" in failed(cli("submit", DOGS))
    assert kaggle.submissions == []
    assert ledger(place) == []


@pytest.mark.parametrize(
    "fault",
    [
        kaggle_server.arrives_unheard,
        kaggle_server.arrives_half_heard,
        kaggle_server.arrives_in_trouble,
        kaggle_server.arrives_unreadably,
        kaggle_server.arrives_unnumbered,
    ],
)
def test_one_that_arrived_though_the_answer_was_lost_is_not_sent_again(
    cli: Cli, kaggle: State, place: Path, real: store.Run, fault: Fault
) -> None:
    kaggle.will("CreateSubmission", fault)
    done = succeeded(cli("submit", DOGS, "--wait"))
    assert "submission 1001 received" in done.out
    assert kaggle.count("CreateSubmission") == 1
    (row,) = ledger(place)
    assert (row["run"], row["public_score"]) == (real.id, 0.04321)


def test_it_is_recognised_by_its_words_as_the_list_shows_them(
    cli: Cli, kaggle: State, place: Path, real: store.Run, tmp_path: Path
) -> None:
    mine = shutil.copy(real.submission, tmp_path / "my  blend\u200d.csv")
    kaggle.will("CreateSubmission", kaggle_server.arrives_unheard)
    succeeded(cli("submit", DOGS, mine, "-m", "two  words\tand \u200d one"))
    assert kaggle.count("CreateSubmission") == len(ledger(place)) == 1


def test_an_answer_that_is_cut_is_asked_for_again(cli: Cli, kaggle: State, place: Path, pauses: list[float]) -> None:
    kaggle.will("ListSubmissions", kaggle_server.cut_answer)
    succeeded(cli("submit", DOGS))
    assert pauses == [1.0]


def test_one_that_arrived_unheard_before_the_network_went_is_recognised_by_the_next_command(
    cli: Cli, kaggle: State, place: Path, real: store.Run
) -> None:
    def gone(exchange: kaggle_server.Exchange) -> None:
        kaggle_server.arrives_unheard(exchange)
        kaggle.will("ListSubmissions", *[status(503)] * retries.ATTEMPTS)

    kaggle.will("CreateSubmission", gone)
    assert "problem (503)" in failed(cli("submit", DOGS))
    assert [row["status"] for row in ledger(place)] == ["SENDING"]
    assert "sent before, as submission 1001" in failed(cli("submit", DOGS))
    (row,) = ledger(place)
    assert (row["reference"], row["run"]) == (1001, real.id)
    assert kaggle.count("CreateSubmission") == 1


def test_one_that_never_arrived_is_sent_by_the_next_command(cli: Cli, kaggle: State, place: Path) -> None:
    kaggle.will("CreateSubmission", *[status(500)] * retries.ATTEMPTS)
    assert "problem (500)" in failed(cli("submit", DOGS))
    assert [row["status"] for row in ledger(place)] == ["SENDING"]  # it may still turn up
    succeeded(cli("submit", DOGS))
    assert len(kaggle.submissions) == len(ledger(place)) == 1


# the list


def elsewhere(kaggle: State, count: int) -> None:
    kaggle.uploads["x"] = b""
    kaggle.upload_name = "old.csv"
    for number in range(count):
        kaggle_server.submit(kaggle, {"blobFileTokens": "x", "submissionDescription": f"old {number}"})
    kaggle.submissions = [row | kaggle.outcome for row in kaggle.submissions]


def test_the_list_has_all_pages_and_what_was_sent_from_elsewhere(
    cli: Cli, kaggle: State, place: Path, real: store.Run
) -> None:
    elsewhere(kaggle, 45)
    succeeded(cli("submit", DOGS))
    done = succeeded(cli("submissions", DOGS))
    rows = ledger(place)
    assert [row["reference"] for row in rows] == list(range(1001, 1047))
    assert [row["run"] for row in rows] == [""] * 45 + [real.id]
    assert rows[-1]["public_score"] == 0.04321
    for words in ("old 0", "old 44", real.id, "COMPLETE"):
        assert words in done.out


def test_the_list_is_shown_as_it_was_when_kaggle_is_away(cli: Cli, kaggle: State, place: Path) -> None:
    succeeded(cli("submit", DOGS, "--wait"))
    kaggle.will("ListSubmissions", *[status(500)] * retries.ATTEMPTS)
    done = succeeded(cli("submissions", DOGS))
    assert "WARNING: showing the last known state" in done.out
    assert "0.04321" in done.out
    kaggle.will("ListSubmissions", status(401, "no"))
    assert "credentials" in failed(cli("submissions", DOGS))


def test_a_list_of_nothing_says_how_to_begin(cli: Cli, kaggle: State) -> None:
    assert "kagglekit submit dogs-vs-cats" in succeeded(cli("submissions", DOGS)).out


# The main job, from Kaggle and back


def test_one_command_downloads_runs_submits_and_waits(
    cli: Cli, kaggle: State, tiny: str, home: Path, tmp_path: Path
) -> None:
    kaggle.archive = drawing.dogs(tmp_path).read_bytes()
    words = ("run", DOGS, "--backbone", tiny, *QUICK, "--submit", "--wait", "-m", "first try")
    done = succeeded(cli(*words))
    (run,) = (home / DOGS / "runs").iterdir()
    assert kaggle.uploads["uploaded"] == (run / "submission.csv").read_bytes()
    assert kaggle.named("CreateSubmission")[0].json["submissionDescription"] == "first try"
    assert json.loads((run / "kaggle.json").read_text())["public_score"] == 0.04321
    assert "0.04321" in done.out
    assert "0.04321" in succeeded(cli("runs", DOGS)).out
    assert "was sent before" in failed(cli(*words))
    assert kaggle.count("upload") == 1


def test_what_can_not_be_submitted_is_said_before_the_run(
    cli: Cli, kaggle: State, tiny: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("run", DOGS, "--backbone", tiny)
    assert "a sample run is not worth a submission" in failed(cli(*words, "--submit", "--sample", "20"))
    assert "--fold 1 makes no submission" in failed(cli(*words, "--submit", "--fold", "1"))
    assert "--message and --wait need --submit" in failed(cli(*words, "-m", "text"))
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert "token" in failed(cli(*words, "--submit"))
    assert not (home / DOGS / "runs").exists()
    assert not kaggle.count("DownloadDataFiles")


def test_before_the_run_kaggle_is_asked_whether_it_would_take_a_submission(
    cli: Cli, kaggle: State, tiny: str, home: Path, tmp_path: Path
) -> None:
    archive = drawing.dogs(tmp_path)
    words = ("run", DOGS, "--data", archive, "--backbone", tiny, *QUICK, "--submit")
    kaggle.will("GetSubmissionLimits", status(403, "no"))
    assert f"{SLUG}/rules" in failed(cli(*words))
    assert not (home / DOGS / "runs").exists()
    kaggle.left, kaggle.counted = 0, 5
    done = cli(*words)
    assert "WARNING: 0 submissions are left today" in done.out
    assert "0 submissions are left today" in done.err
    (run,) = (home / DOGS / "runs").iterdir()
    assert (run / "submission.csv").is_file()
    kaggle.left = 1
    kaggle.will("GetSubmissionLimits", status(503))
    assert "WARNING: can't check yet whether the run can be submitted" in succeeded(cli(*words)).out
    assert len(kaggle.submissions) == 1


def test_a_public_score_that_is_being_over_fitted_is_named(cli: Cli, place: Path, real: store.Run) -> None:
    result = json.loads((real.folder / "result.json").read_text())
    copies = [shutil.copytree(real.folder, real.folder.with_name(f"2099010{n}-0000-00000000")) for n in (1, 2)]

    def scored(*scores: tuple[float, float]) -> str:
        """Give the runs their (out-of-fold, public) losses, in the order in which they were sent."""
        for number, (folder, (own, public)) in enumerate(zip((real.folder, *copies), scores, strict=True)):
            (folder / "result.json").write_text(json.dumps(result | {"out_of_fold": own}))
            (folder / "kaggle.json").write_text(
                json.dumps({"reference": number, "public_score": public, "private_score": None})
            )
        return succeeded(cli("runs", DOGS)).out

    later = copies[1].name
    assert f"{later} beats {copies[0].name} in public but is worse" in scored((0.05, 0.06), (0.04, 0.05), (0.045, 0.04))
    # the one in between is the worst of all
    assert f"{later} beats {real.id} in public but is worse" in scored((0.04, 0.06), (0.06, 0.065), (0.05, 0.055))
    assert "overfitting" not in scored((0.05, 0.05), (0.04, 0.04), (0.06, 0.06))
