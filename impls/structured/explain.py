"""A plan in words: for each parameter the rule that covers it or why none does, the way, its flops and its bytes."""

from __future__ import annotations

from impls.structured.planner import Plan, Step, Way

HEADINGS = ("parameter", "numbers", "rule", "way", "flops", "KiB kept")

WAYS: dict[Way, str] = {
    "top": "the product gives the outputs themselves: only its inputs are multiplied",
    "gram": "products of inputs times products of cotangents, for each pair of positions",
    "half": "as gram, but the positions of x2 are summed first",
    "gradient": "the gradient of each example, then one product",
    "separable": "the gradient of each example alone, or its inputs and derivatives; the outputs come in afterwards",
    "direct": "the gradient of each example and output, from the framework's own backward pass",
    "forward": "the gradient of each example, from one forward pass for each number of the parameters",
}
"""What `planner` says of them, in a line."""


def explain(plan: Plan) -> str:
    """A table with one line for each parameter, and the blocks below it."""
    rows = [HEADINGS, *(_row(step) for step in plan.steps)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    used = [f"{way}: {meaning}" for way, meaning in WAYS.items() if any(way in step.ways for step in plan.steps)]
    return "\n".join([*lines, _blocks(plan), *used])


def _row(step: Step) -> tuple[str, ...]:
    parameter = step.parameter
    way = f"with {parameter.carried_by}" if parameter.carried_by else ", ".join(step.ways) or "none"
    return (parameter.name, str(parameter.size), parameter.rule, way, f"{step.flops:.3g}", f"{step.bytes / 2**10:,.4g}")


def _blocks(plan: Plan) -> str:
    at_once = f"passes over {plan.panel1} examples at a time"
    passes = "one pass over x1 and x2 together" if plan.together else at_once
    if plan.recompute:
        passes += f", made anew for each {plan.kept_panels * plan.panel1} of x1, whose results are kept"
    return (f"{plan.flops:.3g} flops after the passes through the network; {passes}; contracted in blocks of "
            f"{plan.block1} × {plan.block2} examples")
