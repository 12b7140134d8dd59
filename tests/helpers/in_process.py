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

import mlflow
import numpy as np
import torch
from click.testing import CliRunner
from mlflow.tracking import _model_registry, fluent


def run_entry(
    name: str, arguments: list[str], folder: Path, environment: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run `experiments.NAME` in a folder as `python -m` would.

    An exception that the program does not turn into one line is raised.
    """
    main = importlib.import_module(f"experiments.{name}").main
    program = f"python -m experiments.{name}"
    folder.mkdir(parents=True, exist_ok=True)
    with isolated(folder, environment), _arguments([program, *arguments]):
        runner = CliRunner(capture="fd", catch_exceptions=False)
        result = runner.invoke(main, arguments, prog_name=program)
    return subprocess.CompletedProcess(
        [program, *arguments], result.exit_code, result.stdout, result.stderr
    )


@contextlib.contextmanager
def isolated(folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Stand in a folder, with an environment, as a new process would; take all back afterwards."""
    with contextlib.ExitStack() as stack:
        for part in (_warnings, _interpreter, _signals, _loggers, _randomness, _mlflow):
            stack.enter_context(part())
        stack.enter_context(_environment(environment))
        stack.enter_context(contextlib.chdir(folder))
        yield


@contextlib.contextmanager
def _warnings() -> Iterator[None]:
    """Show warnings to the filters of the test in the end: raised earlier, libraries catch them."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield
    for one in found:
        warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


@contextlib.contextmanager
def _arguments(words: list[str]) -> Iterator[None]:
    before, sys.argv = sys.argv, words
    try:
        yield
    finally:
        sys.argv = before


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    _set_environment(values)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(values: Mapping[str, str]) -> None:
    for name in set(os.environ) - set(values):
        del os.environ[name]
    os.environ.update(values)


@contextlib.contextmanager
def _interpreter() -> Iterator[None]:
    """Restore how garbage is looked for, and how many threads compute."""
    thresholds, threads = gc.get_threshold(), torch.get_num_threads()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        torch.set_num_threads(threads)


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Hear Ctrl-C, which a shell's background jobs do not; restore who hears what."""
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


@contextlib.contextmanager
def _loggers() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("", "segmentation", "experiments")]
    before = [(one.level, one.propagate, list(one.handlers)) for one in loggers]
    try:
        yield
    finally:
        for one, (level, propagate, handlers) in zip(loggers, before, strict=True):
            one.setLevel(level)
            one.propagate = propagate
            one.handlers[:] = handlers


@contextlib.contextmanager
def _randomness() -> Iterator[None]:
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


@contextlib.contextmanager
def _mlflow() -> Iterator[None]:
    """Let MLflow choose store and experiment by its own rules, and forget them again."""
    service, registry = mlflow.tracking._tracking_service.utils, _model_registry.utils
    before = service._tracking_uri, registry._registry_uri, fluent._active_experiment_id
    service._tracking_uri = registry._registry_uri = fluent._active_experiment_id = None
    try:
        yield
        assert mlflow.active_run() is None, "the program has left a run open"
    finally:
        while mlflow.active_run():
            mlflow.end_run()
        service._tracking_uri, registry._registry_uri, fluent._active_experiment_id = before
