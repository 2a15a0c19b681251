"""Render self-contained pages that need no network.

jinja2 escapes all text; only plots, styles and the script are marked safe. The page's content security policy blocks
other scripts and all network requests.
"""

from __future__ import annotations

import base64
import hashlib
import math
from functools import cache
from typing import TYPE_CHECKING, Any

from kagglekit.base import environment

if TYPE_CHECKING:
    import jinja2


def render(template: str, **values: Any) -> str:
    """Render a template in `templates/` with these values."""
    made = _environment().get_template(template)
    return made.render(version=environment.installed_version("kagglekit"), **values)


@cache
def _environment() -> jinja2.Environment:
    import jinja2
    from markupsafe import Markup

    loader = jinja2.PackageLoader("kagglekit.pages", "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    script, style = (loader.get_source(environment, name)[0] for name in ("page.js", "page.css"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals |= {
        "script": Markup(script),
        "style": Markup(style),
        "policy": f"default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'",
    }
    environment.filters |= {"percent": percent, "drawn": Markup}
    return environment


def percent(share: float) -> str:
    """Return a share as a percentage, with enough digits to differ from 0% and 100%; a dash for NaN."""
    if math.isnan(share):
        return "–"
    value = 100 * share
    for digits in range(1, 5):
        text = f"{value:.{digits}f}"
        if value in (0, 100) or 0 < float(text) < 100:
            return f"{text}%"
    return "<0.0001%" if value < 50 else ">99.9999%"
