"""What labels the texts of the data mean, and how the labels of one image are joined."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from kagglekit.base import image_names
from kagglekit.base.walking import natural_key
from kagglekit.competitions.competition import Competition
from kagglekit.tasks.targets import SEPARATOR

Spell = Callable[[str], str]
Join = Callable[[Iterable[str]], str]


def speller(meanings: Mapping[str, str], competition: Competition) -> Spell:
    """Return what gives the label that a text means, in the spelling of the competition.

    `meanings` has the labels of texts that differ. White space around a text has no meaning, unless a label has it.
    """
    spelled: dict[str, str] = {}
    for label in competition.labels:
        spelled.setdefault(image_names.composed(label), label)
    done: dict[str, str] = {}

    def spell(text: str) -> str:
        if text not in done:
            label = meanings.get(text, meanings.get(text.strip(), text))
            known = label in competition.classes
            done[text] = label if known else spelled.get(image_names.composed(label.strip()), label.strip())
        return done[text]

    return spell


def joiner(competition: Competition) -> Join:
    """Return what joins the labels of an image, each once, in the order of the target's; unknown ones come last."""
    place = {label: index for index, label in enumerate(competition.labels)}

    def join(labels: Iterable[str]) -> str:
        once = sorted(set(labels) - {""}, key=lambda label: (place.get(label, len(place)), natural_key(label)))
        return SEPARATOR.join(once)

    return join
