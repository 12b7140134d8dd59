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
@click.argument("name", type=click.Choice(ENTRY_POINTS), default="train")
@click.option("--schema", is_flag=True, help="Print the JSON schema, for editors.")
def config(name: str, schema: bool) -> None:
    """Print every parameter of a command, with its default, as a file for its --config."""
    from segmentation.config.commands import parameters
    from segmentation.config.file import dump

    known = parameters(name)
    if schema:
        shown = {option: dict(one.schema) for option, one in known.items()}
        for option in [option for option, one in known.items() if one.search and name == "tune"]:
            shown[option] = {"anyOf": [shown[option], {"type": ["string", "array"]}]}
        whole = {"type": "object", "properties": shown, "additionalProperties": False}
        click.echo(json.dumps(whole, indent=2))
        return
    click.echo(f"# Every parameter of `petseg {name}`, which reads such a file as --config FILE.")
    for option, one in known.items():
        lines = textwrap.wrap(one.help, 98, break_on_hyphens=False)
        click.echo("\n# " + "\n# ".join(lines))
        click.echo(dump({option: one.default}), nl=False)


if __name__ == "__main__":
    main()
