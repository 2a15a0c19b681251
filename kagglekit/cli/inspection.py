"""Implementation of `info`, `runs` and `backbones`."""

from __future__ import annotations

from typing import Any

from kagglekit import recipe
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.base.workspace import Workspace, home
from kagglekit.competitions.competition import Competition
from kagglekit.data.project import Project
from kagglekit.pipeline import raced, steps, summary
from kagglekit.runs import filenames
from kagglekit.runs import store as run_folders
from kagglekit.runs.record import Sent, names_of
from kagglekit.tasks.seconds import ACCURACY

_SHOWN_COLUMNS = 4
"""Number of columns of a submission that `info` names."""


def info(target: str) -> None:
    """Show a competition or a run."""
    console = Console()
    try:
        project = Project.load(target)
    except UserError:
        if not _looks_like_run(target):
            raise
        _info_run(run_folders.find(target), console)
        return
    _info_competition(project, console)


def _looks_like_run(target: str) -> bool:
    try:
        run_folders.find(target)
    except UserError:
        return target[:8].isdigit()
    return True


def _info_competition(project: Project, console: Console) -> None:
    competition, workspace = project.competition, project.workspace
    described = competition.describe() | {"page": competition.url, "workspace": str(workspace.folder)}
    described["submission"] = _submission(competition)
    described["metric"] = _scored_by(competition.scored_by.name, competition.scored_by.lower_is_better)
    classes = described.pop("classes")
    console.table(competition.name, ("", ""), [(key, _plain(value)) for key, value in described.items()])
    if competition.target.source is None:
        console.table(competition.target.kind, ("label", "meaning"), list(classes.items()))
    else:
        console.say(f"What is predicted is read from the data: the {competition.target.counted}.")
    if competition.leaderboard:
        lines = [(name, f"{score:.5f}") for name, score in competition.leaderboard.items()]
        console.table("leaderboard", ("rank", ">score"), lines)
    _settings_table(project, console)


def _submission(competition: Competition) -> str:
    """Return the first columns of the submission, and what a row has."""
    form, target = competition.submission, competition.target
    columns = form.columns(target)
    shown = columns if len(columns) <= _SHOWN_COLUMNS else [*columns[:_SHOWN_COLUMNS], "…"]
    return f"{', '.join(shown)}: a row has {form.words(target)}"


def _settings_table(project: Project, console: Console) -> None:
    from kagglekit.pipeline.methods import table

    chosen = table.resolve(project, {}, console.say)
    origins = dict.fromkeys(recipe.flat(project.plugin.recipe(), project.name), "plugin")
    origins |= dict.fromkeys(recipe.read_file(project.workspace.recipe_file), filenames.RECIPE)
    meanings = recipe.meanings()
    console.say("Change a setting with --set KEY=VALUE, or by a line KEY = VALUE in the workspace's recipe.toml.")
    for section, values in chosen.by_section().items():
        rows = [(key, _plain(value), origins.get(key, ""), meanings[key]) for key, value in values.items()]
        console.table(f"[{section}] {recipe.purpose(section)}", ("key", "value", "from", "meaning"), rows)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())
    return recipe.shown(value)


def _info_run(run: run_folders.Run, console: Console) -> None:
    record, result = run.record, run.result
    hidden = ("competition", "bundle", "backbones")
    shown = {key: value for key, value in record.to_plain().items() if key not in hidden and value != ""}
    rows = [(key, _plain(value)) for key, value in shown.items()]
    rows += [
        (f"backbone {name}", f"{each.source}, {each.licence}, sha256 {each.sha256}")
        for name, each in zip(names_of(record.backbones), record.backbones, strict=True)
    ]
    console.table(f"run {run.id} of {record.competition.name}", ("", ""), rows)
    console.say((run.folder / filenames.RECIPE).read_text(encoding="utf-8").rstrip())
    if result is None:
        console.warn("this run is not finished: repeat its command to resume it")
        return
    console.table(f"result: {_scored_by(result.metric, result.lower_is_better)}", ("", ">"), summary.facts(result))
    raced.show(run.race, console)
    steps.show(result, console)
    console.say(f"submission: {run.submission}" if record.test_images else "no submission: there are no test images")


def runs(name: str | None) -> None:
    """List the runs of one competition, or of all workspaces."""
    console = Console()
    if name is not None:
        workspaces = [Project.load(name).workspace]
    else:
        workspaces = [Workspace(folder) for folder in sorted(home().glob("*")) if folder.is_dir()]
    shown = False
    for workspace in workspaces:
        found = run_folders.all_runs(workspace)
        if found:
            shown = True
            scores, second = _scores(found), _second(found)
            rows = sorted((_run_row(run, second, several=len(scores) > 1) for run in found), key=lambda row: row[0])
            title = f"{workspace.folder.name}: {'; '.join(scores)}" if scores else workspace.folder.name
            console.table(title, [*_RUN_COLUMNS[:4], f">{second}", *_RUN_COLUMNS[4:]], [row[1] for row in rows])
            for line in _over_fitted(found):
                console.warn(line)
    if not shown:
        console.say(f"no runs in {home()}: `kagglekit run NAME` makes one.")


def _scores(found: list[run_folders.Run]) -> list[str]:
    """Return by which metrics runs are scored, and which scores are better."""
    results = [run.result for run in found]
    return list(dict.fromkeys(_scored_by(result.metric, result.lower_is_better) for result in results if result))


def _second(found: list[run_folders.Run]) -> str:
    """Return what runs say besides their score, such as the accuracy; `also` if they say different things."""
    results = [run.result for run in found]
    names = {name for result in results if result for name, _ in summary.second(result)} or {ACCURACY}
    return names.pop() if len(names) == 1 else "also"


def _scored_by(metric: str, lower_is_better: bool) -> str:
    return f"{metric}, {'lower' if lower_is_better else 'higher'} is better"


def _method(run: run_folders.Run) -> str:
    """Describe the method of a run; return only its name if this version can't read the settings."""
    from kagglekit.pipeline.methods import table

    try:
        return table.of_run(run.recipe).describe(run.recipe)
    except UserError:
        return str(run.settings.get("method", ""))


_RUN_COLUMNS = (
    "run",
    ">score ± error",
    ">public",
    ">private",
    "backbone",
    "method",
    ">images",
    ">seconds",
    "steps kept",
)


def _leaderboard(run: run_folders.Run) -> tuple[str, str]:
    """Return the public and the private score; empty if there is none."""
    sent = run.sent or Sent()
    public, private = ("" if score is None else f"{score:.5f}" for score in (sent.public_score, sent.private_score))
    return public, private


def _over_fitted(found: list[run_folders.Run]) -> list[str]:
    """Warn of submissions that beat an earlier one in public but not out-of-fold, which is probably luck."""
    sent = []
    for run in found:
        latest, result = run.sent, run.result
        if latest and result and latest.public_score is not None:
            public = latest.public_score if result.lower_is_better else -latest.public_score
            sent.append((latest.reference or 0, run.id, public, result.loss, result.metric))
    lines = []
    sent.sort()
    for place, (_, after, later_public, later_own, metric) in enumerate(sent):
        before = [(own, name, public) for _, name, public, own, scored in sent[:place] if scored == metric]
        beaten = [(own, name) for own, name, public in before if later_public < public and later_own > own]
        if beaten:
            lines.append(
                f"{after} beats {min(beaten)[1]} in public but is worse out-of-fold: you are overfitting the public "
                "leaderboard; trust the out-of-fold score"
            )
    return lines


def _run_row(
    run: run_folders.Run, second: str, *, several: bool
) -> tuple[tuple[bool, bool, bool, str, float], tuple[str, ...]]:
    """Return (sort key: real before synthetic, finished first, whole before samples, best first; cells).

    `second` is the name of the column of accuracies or the like; others say their own.

    With `several` metrics, each score says its own, and only those of one are sorted.
    """
    record, result = run.record, run.result
    backbones = ", ".join(names_of(record.backbones))
    method = _method(run)
    if result is None:
        return (run.synthetic, True, False, "", 0.0), (
            run.id,
            "not finished",
            *_leaderboard(run),
            "",
            backbones,
            method,
            str(record.train_images),
            "",
            "",
        )
    score = summary.scored(result) + (f" {result.metric}" if several else "")
    also = ", ".join(value if name == second else f"{name} {value}" for name, value in summary.second(result))
    cells = (run.id, score, *_leaderboard(run), also, backbones, method)
    images = f"{result.scored_images}{' (sample)' if result.sample else ''}"
    key = (run.synthetic, False, result.sample > 0, result.metric, result.loss)
    return key, (*cells, images, f"{result.all_seconds:.0f}", steps.kept(result))


def backbones(pattern: str, limit: int) -> None:
    """List the installed backbones, those in the hub's cache, and those on the hub."""
    from kagglekit.models import catalogue
    from kagglekit.models.weights import hub_answers

    console = Console()
    if not pattern:
        console.table("recommended; they export to ONNX", ("name", "for"), list(catalogue.RECOMMENDED.items()))
    here = catalogue.installed(pattern)
    if here:
        console.table("installed; no network needed", _BACKBONE_COLUMNS, [row.cells() for row in here])
    known = catalogue.on_hub(pattern)
    shown = known[:limit]
    with console.rich.status("building models without weights"):
        rows = [catalogue.describe(name) for name in shown]
    if rows:
        answers = "answers" if hub_answers() else "does not answer now"
        console.table(f"on the model hub, which {answers}", _BACKBONE_COLUMNS, [row.cells() for row in rows])
    if len(known) > limit:
        console.say(f"… and {len(known) - limit} more: narrow the pattern, or raise --limit.")
    if not here and not known:
        raise UserError(f"no backbone matches {pattern!r}: try part of a name, for example convnext.")


_BACKBONE_COLUMNS = ("name", ">parameters", ">file", ">input", "licence")
