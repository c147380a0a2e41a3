"""A plan in words: for each parameter the rule that covers it or why none does, the way, its flops and its bytes."""

from __future__ import annotations

from impls.structured.planner import Plan, Step

HEADINGS = ("parameter", "numbers", "rule", "way", "flops", "bytes kept")


def explain(plan: Plan) -> str:
    """A table with one line for each parameter, and the blocks below it."""
    rows = [HEADINGS, *(_row(step) for step in plan.steps)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, _blocks(plan)])


def _row(step: Step) -> tuple[str, ...]:
    parameter = step.parameter
    way = f"with {parameter.carried_by}" if parameter.carried_by else ", ".join(step.ways) or "none"
    return (parameter.name, str(parameter.size), parameter.rule, way, f"{step.flops:.3g}", f"{step.bytes:.3g}")


def _blocks(plan: Plan) -> str:
    passes = f"passes over {plan.panel1} examples at a time"
    if plan.recompute:
        passes += f", made anew for each {plan.kept_panels * plan.panel1} of x1, whose results are kept"
    return (f"{plan.flops:.3g} flops after the passes through the network; {passes}; contracted in blocks of "
            f"{plan.block1} × {plan.block2} examples")
