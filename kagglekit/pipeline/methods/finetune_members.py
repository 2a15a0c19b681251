"""What of a fine-tuned run may be blended: the run, and its models in each view.

N: scored images, R: readable test images, C: classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kagglekit.base import shortlists
from kagglekit.base.shortlists import Wide
from kagglekit.pipeline import tta, views
from kagglekit.pipeline.blending import Member
from kagglekit.pipeline.finished import Asked, FinishedRun
from kagglekit.pipeline.methods import pseudo_labels
from kagglekit.pipeline.methods.fold_models import Place, joined, places, predicting, refitted_places, views_of
from kagglekit.pipeline.views import MIRROR, PLAIN
from kagglekit.runs.record import TRANSDUCTIVE

_Pairs = Mapping[str, tuple[Wide, Wide]]
"""View -> predictions of the scored images (N, C) and of the test images (R, C)."""
_AUGMENTED = "augmented"


def read(run: FinishedRun, asked: Asked) -> list[Member]:
    """Return the run as it predicts before temperature and clip, and its models if they are something else.

    They are if there are several per fold, or if the run uses what they predict after learning pseudo-labels. A member
    is called `0-plain`: the number of the model within each fold, and the view.
    """
    models, refitted = places(run.run, run.recipe), refitted_places(run.run, run.recipe)
    finish = run.recipe.finish
    numbers = sorted({model.number for model in models})
    mirrors = MIRROR in views.allowed(run.recipe.features.feature_views, run.mirror)
    seen = views_of(run.run, models, tta.names(finish, mirrors=mirrors, models=len(numbers)), run.labels)

    def pairs(some: Sequence[Place], tested: Sequence[Place] = ()) -> _Pairs:
        return {view: joined(run.run, some, view, asked, run.labels, tested=tested) for view in seen}

    def alike(number: int) -> _Pairs:
        own, own_refitted = ([one for one in some if one.number == number] for some in (models, refitted))
        return pairs(own, predicting(own, own_refitted, run.recipe))

    together = pairs(models, predicting(models, refitted, run.recipe))
    kept = {step.step for step in run.run.finishing if step.kept}
    learnt = any(name.startswith(pseudo_labels.STEP) for name in kept)
    again = pseudo_labels.candidates(pairs([model.again for model in models]), finish) if learnt else ()
    chosen = [each for each in (*tta.candidates(together, finish), *again) if each.name in kept]
    oof, test = (chosen[-1].oof, chosen[-1].test) if chosen else together[PLAIN]
    alone, note = (chosen[-1].alone, chosen[-1].note) if chosen else (True, "")
    whole = Member(name=run.run.id, oof=oof, test=test, alone=alone, note=note)
    inside = [member for number in numbers for member in _of_model(f"{run.run.id}/{number}", alike(number))]
    return [whole, *inside] if len(numbers) > 1 or learnt else [whole]


def _of_model(name: str, pairs: _Pairs) -> list[Member]:
    """Return a model's members: each view, and the mean of the augmented ones."""
    augmented = [pair for view, pair in pairs.items() if view.startswith(_AUGMENTED)]
    shown = {view: pair for view, pair in pairs.items() if not view.startswith(_AUGMENTED)}
    if augmented:
        oofs, tests = zip(*augmented, strict=True)
        shown[_AUGMENTED] = shortlists.mean(oofs), shortlists.mean(tests)
    return [
        Member(
            name=f"{name}-{view}",
            oof=oof,
            test=test,
            alone=view in (PLAIN, MIRROR),
            whole=False,
            note=TRANSDUCTIVE if tta.is_transductive(view) else "",
        )
        for view, (oof, test) in shown.items()
    ]
