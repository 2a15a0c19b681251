"""The guide: Markdown pages that are installed with kagglekit, so that they can be read without a network."""

from __future__ import annotations

import difflib
import re
from importlib import resources
from typing import TYPE_CHECKING

from kagglekit.base.errors import UserError

if TYPE_CHECKING:
    from kagglekit.base.console import Console

_ORDER = (
    "getting-started",
    "fine-tuning",
    "kaggle",
    "look-at-the-model",
    "rehearsal",
    "tuning",
    "export",
    "settings",
    "commands",
    "plugins",
    "architecture",
    "benchmarks",
)
"""The topics in the order in which a newcomer reads them."""
_WIDTH = 100
"""Most columns of a page on a terminal: longer lines are hard to read."""


def topics() -> dict[str, str]:
    """Return topic -> the title of its page, in reading order."""
    return {topic: _source(topic).partition("\n")[0].removeprefix("# ") for topic in _ORDER}


def page(topic: str) -> str:
    """Return a page as Markdown for a terminal; raise UserError for an unknown topic, naming the nearest.

    Comments and pictures are left out. A link to another page becomes the command that shows it.
    """
    if topic not in _ORDER:
        begun = [name for name in _ORDER if topic and name.startswith(topic)]
        near = begun or difflib.get_close_matches(topic, _ORDER, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else "`kagglekit guide` lists them."
        raise UserError(f"the guide has no topic {topic!r}: {hint}")
    text = re.sub(r"<!--.*?-->\n?", "", _source(topic), flags=re.DOTALL)
    text = re.sub(r"!\[([^\]]*)\]\([^)]*\)\n*", "", text)
    text = re.sub(r"\[([^\]]+)\]\(([a-z-]+)\.md[^)]*\)", r"\1 (`kagglekit guide \2`)", text)
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]*\)", r"\1", text)  # files of the repository, which may not be here


def show(topic: str | None, console: Console) -> None:
    """Print a page, laid out on a terminal and as Markdown elsewhere; without a topic, list all topics.

    Raises UserError for an unknown topic.
    """
    if topic is None:
        console.table("guide", ("topic", "about"), list(topics().items()))
        console.say("kagglekit guide TOPIC shows a page")
        return
    text = page(topic)
    rich = console.rich
    if rich.is_terminal:
        from rich.markdown import Markdown

        rich.print(Markdown(text, hyperlinks=False), width=min(rich.width, _WIDTH))
    else:
        rich.print(text, markup=False, soft_wrap=True, end="")


def _source(topic: str) -> str:
    return resources.files(__name__).joinpath(f"{topic}.md").read_text(encoding="utf-8")
