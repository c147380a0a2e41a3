"""Configurations: the file and the command line mean the same, and every mistake is named."""

from __future__ import annotations

import dataclasses
import importlib
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

pytest.importorskip("tyro", reason="the command line comes with the extra 'studies'")

from reference import InputError
from studies import cli
from studies.config import command_line, from_table, read
from tests import ROOT


@dataclass(frozen=True)
class Network:
    width: int = 32
    activation: Literal["relu", "tanh"] = "relu"


@dataclass(frozen=True)
class Options:
    """What the test configures."""

    network: Network = field(default_factory=Network)
    rate: float = 0.1
    limit: int | None = None
    layers: tuple[str, ...] = ()
    kinds: dict[str, str] = field(default_factory=dict)
    out: Path = Path("here")
    loud: bool = False


TOML = """
rate = 1
limit = 3
layers = ["a", "b"]
loud = true
out = "there"
[network]
width = 8
[kinds]
"layers.0" = "relu"
"""


def _file(folder: Path, text: str) -> Path:
    path = folder / "study.toml"
    path.write_text(text)
    return path


def test_a_file_and_flags_give_the_same(tmp_path: Path) -> None:
    flags = ["--rate", "1", "--limit", "3", "--layers", "a", "b", "--loud", "--out", "there", "--network.width", "8",
             "--kinds", "layers.0", "relu"]
    expected = Options(Network(8), 1.0, 3, ("a", "b"), {"layers.0": "relu"}, Path("there"), True)
    assert read(_file(tmp_path, TOML), Options) == command_line(Options, flags, "study") == expected
    assert isinstance(read(_file(tmp_path, TOML), Options).rate, float)


def test_flags_outweigh_the_file_and_the_file_the_default(tmp_path: Path) -> None:
    found = command_line(Options, [str(_file(tmp_path, TOML)), "--network.width", "9"], "study")
    assert (found.network, found.rate) == (Network(9), 1.0)


@pytest.mark.parametrize(("text", "message"), [
    ("rat = 1", "unknown key 'rat'; did you mean rate?"),
    ("[network]\nwidht = 1", "study.toml: network has an unknown key 'widht'; did you mean width?"),
    ("zzz = 1", "unknown key 'zzz'; there are network, rate"),
    ("rate = 'fast'", "rate must be a number, got 'fast'"),
    ("limit = true", "limit must be a whole number, got True"),
    ("loud = 1", "loud must be true or false, got 1"),
    ("layers = 'a'", "layers must be a list, got 'a'"),
    ("layers = [1]", r"layers\[0\] must be a string, got 1"),
    ("network = 3", "network must be a table, got 3"),
    ("[network]\nactivation = 'reul'", "activation is 'reul'; did you mean relu?"),
    ("[kinds]\na = 1", "kinds.a must be a string, got 1"),
    ("rate = ", "study.toml is no TOML"),
])
def test_mistakes_are_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read(_file(tmp_path, text), Options)


def test_a_file_that_is_missing_and_a_field_without_default(tmp_path: Path) -> None:
    @dataclass
    class Needs:
        x: int

    with pytest.raises(InputError, match="is not read"):
        command_line(Options, [str(tmp_path / "none.toml")], "study")
    with pytest.raises(InputError, match="lacks x"):
        from_table({}, Needs)


def test_every_default_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command_line(Options, ["--help"], "study")
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("default: 32", "default: relu", "default: 0.1", "default: here"))


def leaves(options: object) -> int:
    """Fields that are no dataclass themselves, however deep."""
    return sum(leaves(value) if dataclasses.is_dataclass(value) else 1 for value in vars(options).values())


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_shows_a_default_for_every_field(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jax", reason="sweeps are of networks in JAX")
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    shown = re.sub(r"[│╭╮╰╯─\s]+", " ", capsys.readouterr().out)
    options = importlib.import_module(cli.COMMANDS[command][0]).Options()
    assert shown.count("(default:") == leaves(options)


def test_importing_the_studies_imports_no_framework() -> None:
    program = ("import sys, studies.cli, studies.data, studies.saved, studies.sinks, studies.tracking.run; "
               "print(*{'jax', 'torch', 'flax', 'wandb', 'tensorboard', 'sklearn', 'matplotlib'} & set(sys.modules))")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == ""


def run(options: Options) -> int:
    """This module is a command, to the test below."""
    if options.limit == 0:
        raise KeyboardInterrupt
    if options.limit is not None:
        raise InputError(f"limit is {options.limit}; leave it out")
    print(f"width {options.network.width}")
    return 3


@pytest.mark.parametrize(("arguments", "code", "said"), [
    ([], 0, "measure things"), (["--help"], 0, "measure things"),
    (["mesure"], 2, "there is no command 'mesure'; did you mean measure?"),
    (["measure", "--network.width", "7"], 3, "width 7"), (["measure", "--limit", "4"], 2, "error: limit is 4; leave"),
    (["measure", "--limit", "0"], 130, "stopped; the same command goes on"),
])
def test_the_command_line(arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str],
                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "COMMANDS", {"measure": (__name__, "measure things")})
    assert cli.main(arguments) == code
    shown = capsys.readouterr()
    assert said in (shown.out if code in (0, 3) else shown.err)
