"""The command line ``python -m studies COMMAND [CONFIG.toml] [--field VALUE …]``.

Exit codes: 0 fine, 2 usage, 130 stopped; the same command goes on from where it was stopped.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from impls import RegistryError
from reference import InputError
from studies.config import command_line, nearest

COMMANDS: dict[str, tuple[str, str]] = {
    "predict": ("studies.prediction.command", "what training makes of a network, from its kernel, without training"),
    "sweep": ("studies.sweep.command", "kernels of coordinate networks over layer types, parameters, encodings, sizes"),
    "track": ("studies.tracking.command", "train a network and record its kernel, features and weights"),
}
"""Name to module and what it does. The module has `Options`, a dataclass with a default for all, and
``run(options) -> int``, which returns the exit code."""

USAGE, STOPPED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says and return the exit code; what is wrong with the input is one line on stderr."""
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help"):
        print("usage: python -m studies COMMAND [CONFIG.toml] [--field VALUE …]\n",
              *(f"  {command:10} {what}" for command, (_, what) in COMMANDS.items()),
              "\npython -m studies COMMAND --help shows every field with its default.", sep="\n")
        return 0
    try:
        if name not in COMMANDS:
            raise InputError(f"there is no command {name!r}{nearest(name, COMMANDS)}")
        module = importlib.import_module(COMMANDS[name][0])
        return module.run(command_line(module.Options, rest, f"python -m studies {name}"))
    except (InputError, RegistryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    except OSError as error:  # a folder that cannot be made or written to, say
        where = f" ({error.filename})" if error.filename else ""
        print(f"error: {error.strerror or error}{where}; give another --out, or make room", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return STOPPED
