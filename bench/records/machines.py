"""Whether rows were measured on one machine; rows of different ones are compared only where that is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from bench.records.record import Environment, Record
from bench.records.store import latest

MACHINE = "machine"
"""The option that marks a row which is compared across machines: the key of its environment."""
SHORT = 8
"""Characters of the key that mark a row."""
_ID = "machine id"


def different_machines(one: Environment, other: Environment) -> str:
    """What tells the machines of two environments apart, in words; "" for one machine, or two that are all the same as
    far as is known. (Versions and sources may differ: those are what one compares.)"""
    pairs = {"machine": (one.machine, other.machine), "accelerator": (one.accelerator, other.accelerator),
             "system": (one.system, other.system), _ID: (one.facts.get(_ID), other.facts.get(_ID))}
    return "; ".join(f"{name}: {first or 'none'} and {second or 'none'}" for name, (first, second) in pairs.items()
                     if first != second and not (name == _ID and None in (first, second)))


def left_out(records: Iterable[Record], environments: Mapping[str, Environment]) -> str:
    """What is to be said where rows of other environments than the newest one's are there; "" where there are none."""
    keys = list(dict.fromkeys(record.environment for record in records))
    if len(keys) < 2:
        return ""
    newest = environments.get(keys[-1])
    others = [environments.get(key) for key in keys[:-1]]
    elsewhere = sum(bool(each and newest and different_machines(each, newest)) for each in others)
    return (f"The store has rows of {len(others)} other environment{'s' * (len(others) > 1)} ({elsewhere} on another "
            "machine); they are not compared with these. To rank all together, marked by environment: "
            "python -m bench report --across")


def across(records: Iterable[Record]) -> list[Record]:
    """The newest rows of every environment as rows of one, each marked with its own by the option `MACHINE`."""
    records = list(records)
    keys = dict.fromkeys(record.environment for record in records)
    return [replace(record, environment="", cell=replace(record.cell, options=record.cell.options | {
        MACHINE: key[:SHORT]})) for key in keys for record in latest(records, key)]


def origin(record: Record) -> str:
    """The key of the environment that a row is of, short where it is one of those that `across` gives."""
    return record.environment or record.cell.options.get(MACHINE, "")


def marked(records: Iterable[Record], environments: Mapping[str, Environment]) -> str:
    """What stands above a ranking across environments."""
    keys = dict.fromkeys(record.environment for record in records)
    told = "; ".join(f"{key[:SHORT]} is {environments[key].machine}, {environments[key].system}"
                     if key in environments else f"{key[:SHORT]} is not recorded" for key in keys)
    return f"Compared across machines or versions, as was asked for: {told}. Differences may be theirs."
