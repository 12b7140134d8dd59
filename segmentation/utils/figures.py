"""matplotlib without pyplot, whatever a notebook or an editor has set in its shell.

So there is no global state, no window and nothing to close.
"""

import contextlib
import os
import sys

from segmentation.utils.environment import environment

_VARIABLE = "MPLBACKEND"
_IS_FIRST = "matplotlib" not in sys.modules

with environment({_VARIABLE: ""}):  # it may name what is not installed here
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

if _IS_FIRST:  # who uses this code in a notebook finds it as it was set
    with contextlib.suppress(KeyError, ValueError):
        matplotlib.rcParams["backend"] = os.environ[_VARIABLE]

__all__ = ["Axes", "Figure", "MaxNLocator", "matplotlib"]
