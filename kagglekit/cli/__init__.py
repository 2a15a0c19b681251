"""The command line; importing it loads neither torch nor timm, pandas, onnxruntime or rich.

`commands/` declares what can be typed, one module per group; the module of the same name here does the work and
is loaded when a command is called.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import pairwise, takewhile
from typing import NoReturn

import typer

from kagglekit.base import interrupts, streams
from kagglekit.base.errors import OwnError, UserError
from kagglekit.cli import commands

app = typer.Typer(
    name="kagglekit",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Take a Kaggle image-classification competition from its data to a validated submission with one command.",
    epilog="Start with `kagglekit run dogs-vs-cats --data ARCHIVE`; `kagglekit guide` explains more.",
)
for _group in commands.GROUPS:
    app.add_typer(_group.commands)


def main() -> None:
    """Run the command line; what the user can fix ends in one line and exit code 1."""
    with streams.printing_anything():
        try:
            _run()
        except interrupts.Interrupted:
            interrupts.end()
        except OwnError as error:
            _fail(str(error), own=True)
        except UserError as error:
            _fail(str(error))
        except OSError as error:
            from kagglekit.base import storage

            reason = storage.explain(error)
            if reason is None:
                raise
            _fail(reason, own=True)


def _run() -> None:
    with interrupts.ending_promptly():
        try:
            if sys.argv[1:] == ["list"]:  # nothing to convert: typer would load pydantic, which takes twice the rest
                commands.inspection.list_()
            else:
                _check_options(sys.argv[1:])
                app()
        finally:
            sys.stdout.flush()  # here its errors are still explained


def _check_options(words: Sequence[str]) -> None:
    """Raise UserError for an option with an empty value: as a path it would mean the current folder."""
    words = list(takewhile(lambda word: word != "--", words))
    empty = [before for before, word in pairwise(words) if not word and before.startswith("-")]
    empty += [word[:-1] for word in words if word.startswith("--") and word.find("=") == len(word) - 1]
    if empty:
        raise UserError(f"{empty[0]} is empty: give it a value, or leave it out; is a shell variable not set?")


def _fail(message: str, *, own: bool = False) -> NoReturn:
    rank = os.environ.get("RANK", "0")
    if own and rank != "0":
        sys.stderr.write(f"kagglekit: process {rank}: {message}\n")
    elif rank == "0":  # of several processes the first one speaks for all
        sys.stderr.write(f"kagglekit: {message}\n")
    sys.exit(1)
