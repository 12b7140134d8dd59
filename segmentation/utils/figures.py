"""matplotlib without pyplot and without a display, whatever a notebook has set in its shell.

So there is no global state, no window and nothing to close.
"""

import sys

from segmentation.utils.environment import environment

# A shell's may name what is not installed here; a notebook's own shows its reader's figures.
with environment({} if "ipykernel" in sys.modules else {"MPLBACKEND": "Agg"}):
    from matplotlib import rc_context
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

__all__ = ["Axes", "Figure", "MaxNLocator", "rc_context"]
