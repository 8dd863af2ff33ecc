# SPDX-License-Identifier: MIT
"""The group of all commands, and what becomes of their errors: a thin shell over registered commands."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from art_spiking.cli import INTERRUPTED
from art_spiking.errors import ArtSpikingError, CannotWrite, InvalidModel, InvalidSubmission, PluginError
from art_spiking.registry import Catalogue, PluginWarning, catalogue, unknown_name

USAGE = 2
INVALID = 3

_ABOUT = """How robust is this spiking network, really?

Attacks a model in the event domain, checks what every attack returned, and says why to trust the number, or
why not."""
_EXIT_CODES = """Exit codes: 0 done; 1 a case failed, the others are kept; 2 usage; 3 an invalid model or
submission; 75 interrupted or out of disk, run the same command again to resume."""


class Program(click.Group):
    """The group of all registered commands; a command is imported only when it is called."""

    def __init__(self, commands: Catalogue) -> None:
        super().__init__(
            "art-spiking",
            help=_ABOUT,
            epilog=_EXIT_CODES,
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        )
        self._catalogue = commands
        self.params.append(_version_option())

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The registered names, sorted."""
        return sorted(self._catalogue)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the command of that name; None when nobody registered it."""
        entry = self._catalogue.get(cmd_name)
        if entry is None:
            return None
        command = entry.load()
        if not isinstance(command, click.Command):
            raise PluginError(
                f"the command '{cmd_name}' of {entry.provider} is not one",
                found=type(command).__name__,
                accepted="a click.Command",
            )
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command; a misspelt one gets a suggestion."""
        name = args[0]
        if not name.startswith("-") and self._catalogue.get(name) is None:
            raise unknown_name("commands", name, self._catalogue)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands by what they registered, without importing them."""
        rows = [(name, self._catalogue[name].summary) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def run(arguments: Sequence[str], *, commands: Catalogue | None = None) -> int:
    """Runs the program and returns its exit code: 0, 1, 2, 3 or 75.

    A command returns its exit code (None is 0) or raises: an `ArtSpikingError` becomes one line on stderr.

    Args:
        arguments: what follows `art-spiking` on the command line.
        commands: the commands to offer; by default every registered one.
    """
    with _plain_warnings():
        try:
            program = Program(catalogue("commands") if commands is None else commands)
            found: Any = program.main(list(arguments), prog_name="art-spiking", standalone_mode=False)
            sys.stdout.flush()
        except click.ClickException as error:
            error.show()
            return USAGE
        except (KeyboardInterrupt, click.Abort):
            click.echo("interrupted", err=True)
            return INTERRUPTED
        except CannotWrite as error:
            click.echo(f"error: {error}", err=True)
            return INTERRUPTED  # what was finished is kept, and the same command goes on from there
        except ArtSpikingError as error:
            click.echo(f"error: {error}", err=True)
            return INVALID if isinstance(error, InvalidModel | InvalidSubmission) else USAGE
        except BrokenPipeError:
            # The reader of a pipe went away, as `| head` does. Python would complain at exit when it flushes.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return 0
        except OSError as error:
            click.echo(f"error: {error}", err=True)
            return USAGE
        except Exception as error:
            if "ART_SPIKING_TRACEBACK" in os.environ:
                raise
            click.echo(f"error: {_unforeseen(error)}", err=True)
            return USAGE
    return found if isinstance(found, int) else 0


def _unforeseen(error: Exception) -> str:
    """One line for an error that nobody foresaw: a plugin's, a library's, or ours."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split())
    return (
        f"{type(error).__name__}: {text}; raised in {Path(frame.filename).name}:{frame.lineno}; "
        "set ART_SPIKING_TRACEBACK=1 for the whole trace"
    )


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Shows each warning once, as one line on stderr; those of libraries keep to Python's own rules."""
    seen: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *_place: Any, **_more: Any) -> None:
        text = " ".join(str(message).split())
        if text not in seen:
            seen.add(text)
            click.echo(f"warning: {text}", err=True)

    with warnings.catch_warnings():
        warnings.simplefilter("always", PluginWarning)
        warnings.showwarning = show
        yield


def _show_version(ctx: click.Context, _option: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(f"art-spiking {importlib.metadata.version('art-spiking')}")
        ctx.exit()


def _version_option() -> click.Option:
    return click.Option(
        ["--version"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_show_version,
        help="Show the version.",
    )
