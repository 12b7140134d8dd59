"""matplotlib without pyplot and without a display, whatever a notebook has set in its shell.

So there is no global state, no window and nothing to close.
"""

from contextlib import AbstractContextManager
from typing import Any

from segmentation.utils.environment import environment, in_notebook

# A shell's may name what is not installed here; a notebook's own shows its reader's figures.
with environment({} if in_notebook() else {"MPLBACKEND": "Agg"}):
    from matplotlib import style
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

__all__ = ["Axes", "Figure", "MaxNLocator", "default_style"]


def default_style(settings: dict[str, Any] | None = None) -> AbstractContextManager[None]:
    """Draw in matplotlib's default style, but for some settings; then put back what was set.

    A notebook may have set a style, and Optuna's plots set one.
    """
    return style.context(settings or {}, after_reset=True)
