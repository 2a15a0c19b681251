"""Draw a small competition in a plugin's declared layout, for runs without data, account or network.

Like an archive from Kaggle, the drawn one contains images, tables, the sample submission and, if folders allow it,
nested zips. What is to be predicted can be seen, a group (driver, patient) is a background, and the flip rule holds.
"""

from kagglekit.competitions.synthetic.drawing import DRAWING_VERSION, Drawn, draw, shapes
from kagglekit.competitions.synthetic.names import invented

__all__ = ["DRAWING_VERSION", "Drawn", "draw", "invented", "shapes"]
