"""Find what a crash, a kill or an outage has left; deliver it, end it, say how to go on."""

from typing import Any

from experiments.options import entry_point
from segmentation.config.commands import RecoverOptions
from segmentation.config.fields import from_options


@entry_point("recover")
def main(given: dict[str, Any]) -> None:
    """Recover from crashes: nothing that lives is touched.

    Looks at the tracking store, at studies, and at what trainings have left on this machine.
    """
    own = from_options(RecoverOptions, given)
    from segmentation.workflows.recover import recover

    recover(own.storage, own.study, act=own.end)


if __name__ == "__main__":
    main()
