"""Shared parts of all plots: colours, and figures written as PNG files or SVG elements.

Colours: Okabe & Ito, "Color Universal Design" (2008); shapes differ as well as colours.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from kagglekit.base.storage import digest, replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PINK, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9"
GREY = "#808080"
INK = "#17181a"
"""Colour of text and axes; pages replace it with their text colour."""
_ON_PAGES = {"blue": BLUE, "orange": ORANGE, "green": GREEN, "pink": PINK, "sky": SKY}
_LONGEST_TITLE = 90


@contextmanager
def as_png(path: Path, title: str) -> Iterator[Figure]:
    """Yield an empty figure, 900 x 540 pixels, and write it as a PNG if the block succeeds."""
    with _figure((9, 5.4)) as figure:
        figure.suptitle(plain(title), fontsize=12, parse_math=False)
        yield figure
        _grid(figure)
        with replacing(path) as temporary:
            figure.canvas.print_figure(temporary, format="png", metadata={"Software": None})


def as_svg(draw: Callable[[Figure], object], alternative: str, size: tuple[float, float] = (9, 5.4)) -> str:
    """Return what `draw` draws as an SVG element; text stays text.

    `alternative` is the alternative text; `size` is in inches. The same input gives the same SVG.
    """
    import matplotlib

    with _figure(size) as figure:
        matplotlib.rcParams["svg.fonttype"] = "none"
        matplotlib.rcParams["svg.hashsalt"] = digest(alternative)
        matplotlib.rcParams["legend.framealpha"] = 0
        draw(figure)
        _grid(figure)
        written = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(written, format="svg", metadata=nothing, transparent=True)
    text = written.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    for name, colour in _ON_PAGES.items():  # dark pages use lighter colours
        text = text.replace(colour.lower(), f"var(--{name}, {colour})")
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
    # figures on one page must not share ids
    own = digest([alternative, text], 8)
    text = re.sub(r'(\bid="|"#|url\(#)', rf"\g<1>{own}-", text)
    box = re.search(r'viewBox="[^"]*"', text)
    assert box is not None
    start = f'<svg {box[0]} role="img" aria-label="{escape(alternative)}" class="plot">'
    return start + text[text.index(">") + 1 :]


def legend(axes: Axes) -> None:
    """Add a legend if anything has a label."""
    if axes.get_legend_handles_labels()[0]:
        for text in axes.legend(loc="best", fontsize=9).get_texts():
            text.set_parse_math(False)


def plain(text: str, longest: int = _LONGEST_TITLE) -> str:
    """Return the text in one line, with `?` for glyphs that matplotlib's default font lacks: it warns about them."""
    from matplotlib import font_manager

    font = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    line = " ".join(text.split())
    drawn = "".join(c if font.get_char_index(ord(c)) else "?" for c in line)
    return drawn if len(drawn) <= longest else drawn[: longest - 1] + "…"


@contextmanager
def _figure(size: tuple[float, float]) -> Iterator[Figure]:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a user's style may require LaTeX or other fonts
        settings = matplotlib.rcParams
        settings["axes.spines.top"] = settings["axes.spines.right"] = False
        settings["legend.framealpha"] = 0.9
        for name in ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"):
            settings[name] = INK
        figure = Figure(figsize=size, dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def _grid(figure: Figure) -> None:
    for axes in figure.axes:
        axes.grid(alpha=0.25, color=GREY)
