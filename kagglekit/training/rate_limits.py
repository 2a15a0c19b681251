"""Limits on learning rates: the highest sensible one for each family of timm models, and the usual one."""

from __future__ import annotations

import math
from collections.abc import Mapping

_CAPS = {
    # transformers, and models trained like them
    5e-4: """aimv2 beit cait coat convit crossvit csatv2 davit deit dm_nfnet efficientformer eva flexivit gcvit gmixer
        gmlp hiera levit maxvit maxxvit mixer mvitv2 naflexvit nest pit pvt resmlp sam2 samvit sequencer2d swin
        tiny_vit tnt twins vit volo xcit""",
    # convnets that imitate them
    1e-3: """caformer convformer convmixer convnext edgenext efficientvit fastvit focalnet inception_next mambaout
        mobilevit nextvit poolformer rdnet repvit swiftformer vitamin""",
    # convnets with batch norm
    1e-2: """cs3 cspdarknet cspresne darknet densenet dla dpn eca_res ecaresne efficientnet ese_vovnet fbnet gernet
        ghostnet hardcorenas hgnet hrnet inception lcnet mixnet mnasnet mobilenet mobileone nasnet pnasnet regnet
        repvgg res2ne resne rexnet se_res selecsls semnasnet senet seresne skresne spnasnet tinynet tresnet vgg vovnet
        wide_resnet xception""",
}
"""Highest rate -> prefixes of the names of its models."""
_UNKNOWN_CAP = 3e-3


def cap(family: str) -> float:
    """Return the highest sensible AdamW rate to fine-tune a timm model, by the prefix of its name.

    Sources: the fine-tuning rates in Liu et al., "A ConvNet for the 2020s" (2022), and Steiner et al., "How to
    train your ViT?" (2022), plus a margin; convnets with batch norm tolerate an order of magnitude more.
    """
    name = family.partition("=")[0].rsplit("/", 1)[-1].lower()
    for wrapping in ("tf_", "test_", "legacy_", "gluon_"):
        name = name.removeprefix(wrapping)
    fitting = [
        (len(start), rate) for rate, starts in _CAPS.items() for start in starts.split() if name.startswith(start)
    ]
    return max(fitting)[1] if fitting else _UNKNOWN_CAP


def usual_rate(family: str) -> float:
    """Return the rate to use without a sweep: 0.3 times the highest.

    On State Farm the loss of tf_efficientnet_lite0 was 0.3 lower with it than with a tenth of the highest.
    """
    return 0.3 * cap(family)


def capped(found: float, family: str) -> tuple[float, bool]:
    """Limit a rate to the family's cap; return it and whether it was lowered. Raises ValueError for an invalid rate."""
    if not 0 < found < math.inf:
        raise ValueError(f"a learning rate is above 0 and finite, not {found}.")
    highest = cap(family)
    return min(found, highest), found > highest


def pick(suggestions: Mapping[str, float], preferred: str, family: str) -> tuple[float, str]:
    """Return the preferred suggestion, else `valley`, capped for the family, and a description of it."""
    name = preferred if preferred in suggestions else "valley"
    rate, was_capped = capped(suggestions[name], family)
    listed = ", ".join(f"{name} {value:.2g}" for name, value in suggestions.items())
    return rate, f"{name}{f', capped for {family}' if was_capped else ''}; {listed}"
