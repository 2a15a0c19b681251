"""Propose a plugin for the data of a competition: layout, task, metric and submission, by its tables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kagglekit.authoring import findings, proposed_form, proposed_json, proposed_train
from kagglekit.authoring.evidence import Evidence, key
from kagglekit.authoring.findings import Train
from kagglekit.authoring.proposal import Proposal
from kagglekit.base.errors import UserError
from kagglekit.base.words import listed
from kagglekit.competitions.locations import CsvIds, CsvLabels

_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+|[a-z]+\d{4}")
_SHARE = 0.5
_APART = 0.9
"""A folder has test images alone if the sample asks for more than this share."""
OPTIONS = ("labels", "task", "of", "metric", "flip", "kaggle")
"""Answers that count beside what the data says."""


@dataclass
class _Choices:
    """Answers to the few questions that data leaves open."""

    given: Mapping[str, str]
    ask: Any
    said: list[str] = field(default_factory=list)

    def __call__(self, option: str, question: str, choices: Sequence[str], default: str) -> str:
        answer = self.given.get(option, "")
        if not answer and self.ask is not None:
            answer = self.ask(f"{question} ({', '.join(choices)})", default=default).strip()
        if answer and answer not in choices:
            raise UserError(f"--{option} {answer!r} is not one of {', '.join(choices)}.")
        if not answer:
            others = " or ".join(choice for choice in choices if choice != default)
            self.said.append(f"assumed: {question[0].lower()}{question[1:]}? {default}; if not, --{option} {others}")
        return answer or default


def propose(name: str, folder: Path, origin: Path, given: Mapping[str, str], ask: Any) -> Proposal:
    """Return the proposal for the data in `folder`, which came from `origin`.

    `given` are answers of the user. `ask`, if there is one, is called for what the data leaves open. Raises UserError,
    with one question, if it leaves open too much.
    """
    evidence = Evidence.of(folder, str(origin))
    choose = _Choices(given, ask)
    tests = _test_folders(evidence)
    train = proposed_train.propose(evidence, tests, choose, given.get("labels", ""))
    form = proposed_form.propose(evidence, train, choose, given.get("metric", ""))
    test, of_test = _test_images(evidence, train, tests)
    metric, slug = given.get("metric", form.metric), given.get("kaggle", _slug(origin))
    fields: dict[str, Any] = {
        "name": name,
        "kaggle": slug,
        "target": form.target,
        "train": train.layout,
        "test": test,
        **({"groups": train.groups} if train.groups else {}),
        "flip": given.get("flip", "allowed"),
        "submission": form.submission,
        "metric": metric,
    }
    assumed = _assumed(metric, slug, given)
    return Proposal(fields=fields, said=[*train.said, *of_test, *form.said, *choose.said, *assumed])


def _assumed(metric: str, slug: str, given: Mapping[str, str]) -> list[str]:
    """Return what no data says, and how to say it."""
    named = f"{slug} is its name at Kaggle; if not" if slug else "it is not at Kaggle; if it is"
    lines = {
        "metric": f"the metric is {metric}; if not, --metric NAME",
        "flip": "a mirrored image keeps its label; if not, --flip forbidden",
        "kaggle": f"{named}, --kaggle SLUG",
    }
    return [f"assumed: {line}" for option, line in lines.items() if option not in given]


def _slug(origin: Path) -> str:
    """Return the competition's slug, if the archive is called as Kaggle calls it."""
    stem = origin.name.partition(".")[0] if origin.is_file() else origin.name
    return stem if _SLUG.fullmatch(stem) else ""


def _test_folders(evidence: Evidence) -> list[str]:
    """Return the folders with images that the sample submission asks for; without one, those called so."""
    if evidence.sample is None:
        return [folder for folder in evidence.images if "test" in folder.lower().rpartition("/")[2]]
    asked = set(map(key, evidence.asked))
    found = [folder for folder in evidence.images if evidence.share(folder, asked) >= _SHARE]
    others = [folder for folder in found if "train" not in folder.lower()]
    return findings.without_copies(evidence, others or found)


def _test_images(evidence: Evidence, train: Train, tests: Sequence[str]) -> tuple[Any, list[str]]:
    """Return where test images are, and what was taken from where."""
    ids = evidence.asked
    asked = set(map(key, ids))
    in_json = None if tests else proposed_json.tests(evidence)
    if in_json:
        return in_json[0], [f"test images: those that {in_json[1]} lists, by its ids"]
    apart = not asked or all(evidence.share(folder, asked) > _APART for folder in tests)
    if tests and apart:
        pattern = evidence.pattern(tests, ids)
        return pattern, [f"test images: {listed(tests, 3)}, by the ids of {evidence.sample_name or 'their names'}"]
    shared = [folder for folder in evidence.images if asked and evidence.share(folder, asked) > 0]
    if not shared:
        return (), [_no_test_images(evidence)]
    table = next((n for n, rows in evidence.tables.items() if _lists(rows, asked)), evidence.sample_name)
    if table == evidence.sample_name and evidence.joined is not None:  # its rows are of labels too
        return evidence.pattern(shared, ids), [f"test images: those of {listed(shared, 3)} without labels"]
    rows = evidence.tables.get(table, evidence.sample)
    assert rows is not None
    column = next(column for column in rows.columns if set(rows[column].map(key)) <= asked)
    said = [f"test images: those of {listed(shared, 3)} that {table} lists"]
    if isinstance(train.layout, CsvLabels) and not train.layout.only_listed:
        said = [f"test images: {listed(shared, 3)}, which {table} lists"]
    return CsvIds(table, images=evidence.pattern(shared, ids), id=column), said


def _no_test_images(evidence: Evidence) -> str:
    """Return that there are no test images, and what that may mean if the sample submission asks for some."""
    if not evidence.asked:
        return "test images: none"
    return (
        f"test images: none, since no image is called {evidence.asked[0]!r} as in {evidence.sample_name}; if a row is "
        "of a group of images, declare test and per_group (`kagglekit guide plugins`)"
    )


def _lists(rows: Any, asked: set[str]) -> bool:
    """Return whether a table is one of test images."""
    return any(set(rows[column].map(key)) == asked for column in rows.columns if column)
