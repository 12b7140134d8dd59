"""The command `petseg`: each entry point as a subcommand, and all settings as a file."""

import ast
import importlib
import json
import textwrap
from pathlib import Path

import click

#: Each is a module beside this one.
ENTRY_POINTS = (
    *("train", "tune", "evaluate", "promote", "predict"),
    *("prepare", "recover", "shrink", "benchmark"),
)


class _Programs(click.Group):
    """Imports an entry point when it is asked for: all of them would take half a second."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*ENTRY_POINTS, *self.commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return command(cmd_name) if cmd_name in ENTRY_POINTS else self.commands.get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, one.get_short_help_str(80)) for name, one in self.commands.items()]
        for name in reversed(ENTRY_POINTS):
            source = Path(__file__).with_name(f"{name}.py").read_text("utf-8")
            rows.insert(0, (name, ast.get_docstring(ast.parse(source)) or ""))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def command(name: str) -> click.Command:
    """Return the command of an entry point."""
    main: click.Command = importlib.import_module(f"experiments.{name}").main
    return main


@click.group(cls=_Programs)
def main() -> None:
    """Train segmentation models, every experiment tracked in MLflow."""


@main.command()
@click.argument("name", type=click.Choice(["train", "tune"]), default="train")
@click.option("--schema", is_flag=True, help="Print the JSON schema, for editors.")
def config(name: str, schema: bool) -> None:
    """Print every parameter of train, or tune, with its default, as a file for --config."""
    from segmentation.config.fields import declared, json_schema
    from segmentation.config.file import dump
    from segmentation.config.search import DEFAULT_SPACE, SearchConfig
    from segmentation.config.training import GROUPS, searchable

    groups, ranges = [*GROUPS.values(), SearchConfig], DEFAULT_SPACE if name == "tune" else {}
    options = {
        str(one.name): one
        for one in command(name).params
        if isinstance(one, click.Option) and one.name != "config"
    }
    if schema:
        known = json_schema(*groups)
        if name == "tune":
            several = {"type": ["string", "array"]}  # a range, or choices
            known |= {one.option: {"anyOf": [known[one.option], several]} for one in searchable()}
        found = {option: known.get(option, {}) for option in options}
        shown = {"type": "object", "properties": found, "additionalProperties": False}
        click.echo(json.dumps(shown, indent=2))
        return
    values = {one.option: one.default for one in declared(*groups)} | ranges
    click.echo(f"# Every parameter of `petseg {name}`, which reads such a file as --config FILE.")
    for option, one in options.items():
        wrapped = textwrap.wrap(str(one.help), 98, break_on_hyphens=False)
        meaning = "\n".join(f"# {line}" for line in wrapped)
        click.echo(f"\n{meaning}\n{dump({option: values.get(option, one.default)})}", nl=False)


if __name__ == "__main__":
    main()
