"""``python -m bench list``: what there is to choose from."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

import impls
from bench.cells.profiles import PROFILES, default_cases
from impls import MethodNotInstalled, RegistryError
from impls.registry import quantities


def show(console: Console) -> None:
    """Print the methods (of which kernels; installed, or how to get them), the profiles and their cases."""
    console.print(_methods())
    console.print(_profiles())
    for name, profile in PROFILES.items():
        console.print(f"cases of {name}:", style="bold")
        console.print("  " + "\n  ".join(source.name for source in default_cases(profile)), highlight=False)


def _methods() -> Table:
    table = Table("method", "framework", "kind", "kernels", "installed", title="methods", title_justify="left")
    for name in impls.names(None):
        try:
            method = impls.load(name)
        except MethodNotInstalled as error:
            table.add_row(name, "", "", "", escape(f"no: {error}"))  # ".[jax]" is no markup
        except RegistryError as error:
            table.add_row(name, "", "", "", escape(f"broken: {error}"))
        else:
            table.add_row(name, method.framework, method.kind, ", ".join(quantities(method)), "yes")
    return table


def _profiles() -> Table:
    table = Table("profile", "what", title="profiles", title_justify="left")
    for name, profile in PROFILES.items():
        table.add_row(name, profile.description)
    return table
