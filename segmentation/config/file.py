"""Settings in a file, YAML or TOML: read by the parameters' names, and written."""

import difflib
import os
import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from segmentation.errors import ConfigError

#: The artifact of a run that holds its settings as such a file.
CONFIG = "config.yaml"
#: What is not in it.
CONSENTS = ("allow_pickle", "force", "overwrite", "delete")
#: What parameters of ours are called elsewhere.
ELSEWHERE = {
    "batch": "batch_size",
    "bs": "batch_size",
    "channels": "width",
    "checkpoint": "model",
    "data_dir": "data",
    "dataset": "data",
    "imgsz": "image_size",
    "img_size": "image_size",
    "input": "images",
    "learning_rate": "lr",
    "n_epochs": "epochs",
    "n_trials": "trials",
    "num_epochs": "epochs",
    "num_workers": "loader_workers",
    "out": "output",
    "random_seed": "seed",
    "weights": "model",
}


def read(file: str, known: Collection[str]) -> dict[str, Any]:
    """Return the settings of a file by their names; `null` ones are left out.

    Args:
        file: its path; TOML where it ends so, else YAML.
        known: the names that there are.

    Raises:
        ConfigError: it cannot be read, or has other names.
    """
    import yaml  # not needed where no file is given

    where, path = f"config={file}", Path(os.path.expanduser(file))
    try:
        text = path.read_text("utf-8")
        toml = path.suffix.lower() == ".toml"
        found = tomllib.loads(text) if toml else yaml.safe_load(text)
        settings = {str(name).replace("-", "_"): value for name, value in found.items()}
        # Of a name that stands twice YAML keeps the last, without a word.
        if len(settings) < len(found if toml else yaml.compose(text, yaml.SafeLoader).value):
            raise ValueError("a name stands there twice")
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read ({error.strerror})") from error
    except (ValueError, AttributeError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{where}: expected lines such as `lr: 0.003` ({reason})") from error
    require_known(settings, known, where)
    for name, value in settings.items():
        if isinstance(value, dict):
            raise ConfigError(f"{where}: {name}: expected one value")
        if isinstance(value, list):  # the choices that a search takes
            settings[name] = ",".join(map(str, value))
    return {name: value for name, value in settings.items() if value is not None}


def require_known(names: Iterable[str], known: Collection[str], where: str) -> None:
    """Raise a ConfigError that names each name which is not known, and the nearest that is.

    `where` they stand begins the sentence.
    """
    problems = []
    for name in names:
        if name not in known:
            likely = [ELSEWHERE.get(name, ""), *difflib.get_close_matches(name, known, 1)]
            near = next((one for one in likely if one in known), "")
            problems.append(
                f"no setting is called {name}" + f" (did you mean {near}?)" * bool(near)
            )
    if problems:
        raise ConfigError(f"{where}: {'; '.join(problems)}")


def dump(settings: Mapping[str, Any]) -> str:
    """Return settings as the text of such a file."""
    import yaml

    return str(yaml.safe_dump(dict(settings), sort_keys=False))
