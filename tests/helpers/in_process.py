"""Runs an entry point in this process, and leaves the process as it was."""

import contextlib
import gc
import importlib
import logging
import os
import random
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest import mock

import mlflow
import numpy as np
import torch
from click.testing import CliRunner
from mlflow.tracking import _model_registry, _tracking_service, fluent


def run_entry(
    name: str, arguments: list[str], folder: Path, environment: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run `experiments.NAME` in a folder as `python -m` would.

    An exception that the program does not turn into one line is raised.
    """
    main = importlib.import_module(f"experiments.{name}").main
    program = f"python -m experiments.{name}"
    words = [program, *arguments]
    folder.mkdir(parents=True, exist_ok=True)
    with isolated(folder, environment), mock.patch.object(sys, "argv", words):
        runner = CliRunner(capture="fd", catch_exceptions=False)
        result = runner.invoke(main, arguments, prog_name=program)
    return subprocess.CompletedProcess(words, result.exit_code, result.stdout, result.stderr)


@contextlib.contextmanager
def isolated(folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Stand in a folder, with an environment, as a new process would; take all back afterwards."""
    # What MLflow chooses by its own rules where nobody has said anything else.
    service, registry = _tracking_service.utils, _model_registry.utils
    unset = ((service, "_tracking_uri"), (registry, "_registry_uri"))
    with contextlib.ExitStack() as stack:
        stack.enter_context(_warnings())
        stack.enter_context(_interpreter())
        for module, name in (*unset, (fluent, "_active_experiment_id")):
            stack.enter_context(mock.patch.object(module, name, None))
        stack.enter_context(mock.patch.dict(os.environ, environment, clear=True))
        stack.enter_context(contextlib.chdir(folder))
        try:
            yield
        finally:
            left_open = mlflow.active_run()
            while mlflow.active_run():
                mlflow.end_run()
        assert left_open is None


@contextlib.contextmanager
def _warnings() -> Iterator[None]:
    """Show warnings to the filters of the test in the end: raised earlier, libraries catch them."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield
    for one in found:
        warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


@contextlib.contextmanager
def _interpreter() -> Iterator[None]:
    """Restore how garbage is looked for, threads, signals, hooks, loggers and random states."""
    with contextlib.ExitStack() as after:
        after.callback(gc.set_threshold, *gc.get_threshold())
        after.callback(gc.unfreeze)
        after.callback(torch.set_num_threads, torch.get_num_threads())
        for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            after.callback(signal.signal, kind, signal.getsignal(kind))
        after.callback(setattr, sys, "unraisablehook", sys.unraisablehook)
        for one in map(logging.getLogger, ("", "segmentation", "experiments")):
            after.callback(one.setLevel, one.level)
            after.callback(setattr, one, "propagate", one.propagate)
            after.callback(setattr, one, "handlers", list(one.handlers))
        after.callback(random.setstate, random.getstate())
        after.callback(np.random.set_state, np.random.get_state())
        after.callback(torch.set_rng_state, torch.get_rng_state())
        # Ctrl-C is heard, as in a terminal; a shell's background jobs do not hear it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
