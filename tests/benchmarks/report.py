"""docs/benchmarks.md, made from docs/benchmarks.json and nothing else."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable
from typing import Any

from . import costs, growth, passes, processes, steps, tables, works
from .harness import ROOT, Verdict
from .markdown import rows, time_of

DATA = ROOT / "docs" / "benchmarks.json"
PAGE = ROOT / "docs" / "benchmarks.md"

#: Of each section of the data, the verdicts on it.
VERDICTS: dict[str, Callable[[dict[str, Any]], list[Verdict]]] = {
    "import": costs.import_verdicts,
    "chain": growth.chain_verdicts,
    "large": growth.large_verdicts,
    "first": costs.first_verdicts,
    "workspace": costs.workspace_verdicts,
    "table": steps.verdicts,
    "others": steps.verdicts,
    "memory": costs.memory_verdicts,
    "growth": growth.growth_verdicts,
    "tables": tables.verdicts,
    "processes": processes.verdicts,
}


def verdicts(data: dict[str, Any]) -> list[Verdict]:
    return [v for name, of in VERDICTS.items() if name in data["sections"] for v in of(data["sections"][name])]


def write(data: dict[str, Any]) -> None:
    DATA.write_text(json.dumps(rounded(data), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    written = json.loads(DATA.read_text(encoding="utf-8"))
    PAGE.write_text(page(written), encoding="utf-8")
    if "processes" in written["sections"]:
        processes.write_page(written["sections"]["processes"], written["measured"]["processes"]["machine"])


def rounded(value: Any) -> Any:
    """Numbers of five digits: more would be noise, and lines that change for nothing."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(v) for v in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def page(data: dict[str, Any]) -> str:
    """The page's text."""
    sections, places = data["sections"], by_place(data["measured"])
    parts = [heading(data, places)]
    for name, part in PARTS.items():
        if name in sections:
            title, text = part(sections[name]).split("\n\n", 1)
            where = [f"On {told}."] if (told := called(name, data, places)) else []
            parts.append("\n\n".join([title, *where, text]))
    parts.append(of_verdicts(data, places))
    return "\n\n".join(parts) + "\n"


def by_place(measured: dict[str, Any]) -> dict[str, list[str]]:
    """What was measured on each machine, by its name and its libraries'."""
    places: dict[str, list[str]] = {}
    for name, how in measured.items():
        libraries = ", ".join(f"{library} {v}" for library, v in how["versions"].items())
        places.setdefault(f"{how['machine']['cpu']}, {how['machine']['cores']} cores ({libraries})", []).append(name)
    return places


def called(name: str, data: dict[str, Any], places: dict[str, list[str]]) -> str:
    """Where a section was measured, by its number in the heading; "" if all were in one place."""
    number = next(k for k, names in enumerate(places.values(), 1) if name in names)
    return f"setup {number}, {data['measured'][name]['machine']['cpu']}" if len(places) > 1 else ""


def heading(data: dict[str, Any], places: dict[str, list[str]]) -> str:
    lines = []
    for number, (place, names) in enumerate(places.items(), 1):
        loads = [load for name in names for load in data["measured"][name]["load"]]
        parts = f": {', '.join(names)}" if len(places) > 1 else ""
        mark = f"{number}." if len(places) > 1 else "-"
        lines.append(f"{mark} {place}, with a load of {min(loads):.1f} to {max(loads):.1f} in the meantime{parts}")
    listed = "\n".join(lines)
    return f"""# Benchmarks

What `make bench` measured, and on what:

{listed}

Both contestants of a ratio work in the same process, in short blocks, in turn; a process gives the median of its
ratios, and the median over one to nine processes is the figure. Only ratios are to be trusted: the times of two
columns may be of two moments of the machine. On one thread, times are those that a process has worked."""


def of_table(found: dict[str, Any]) -> str:
    names = list(dict.fromkeys(n for row in found.values() for n in row["against"]))
    header = ["microseconds a step", *found]
    ours = ["**graphgrad**"]
    for row in found.values():
        times = [a["ours"] for a in row["against"].values() if "ours" in a]
        ours.append(f"**{time_of(statistics.median(times))}**" if times else "")
    lines, ratios, first = [ours], [], [["graphgrad", *[_first(row, 0) for row in found.values()]]]
    for name in names:
        against = [row["against"].get(name, {"skipped": ""}) for row in found.values()]
        lines.append([name, *["–" if "skipped" in a else time_of(a["us"]) for a in against]])
        ratios.append([name, *["–" if "skipped" in a else spread(a) for a in against]])
        first.append([name, *["–" if "skipped" in a else f"{a['first'][1]:.2f} s" for a in against]])
    legend = "\n".join(f"- {row}: {one['title']}" for row, one in found.items())
    return f"""## A training step

Forward, backward and Adam in float32 on one thread.

{legend}

{rows(header, lines)}

graphgrad's time, of that of each (the least and the most of the processes):

{rows(["ratio", *found], ratios)}

From Python objects to the end of the first step, everything imported (compilers may have found an earlier result of
theirs on the disk):

{rows(["first step", *found], first)}

{skipped((f"{row}, {n}", a) for row, one in found.items() for n, a in one["against"].items())}"""


def _first(row: dict[str, Any], which: int) -> str:
    times = [a["first"][which] for a in row["against"].values() if "first" in a]
    return f"{statistics.median(times):.2f} s" if times else ""


def spread(a: dict[str, Any]) -> str:
    wrong = ", other losses!" if a.get("wrong") else ""
    return f"{a['ratio']:.3f} ({a['least']:.2f}–{a['most']:.2f}){wrong}"


def skipped(named: Iterable[tuple[str, dict[str, Any]]]) -> str:
    lines = [f"{name} ({a['skipped']})" for name, a in named if "skipped" in a]
    return f"Left out: {'; '.join(lines)}." if lines else "Nobody was left out."


def of_others(found: dict[str, Any]) -> str:
    lines = []
    for name, one in found.items():
        a = one["against"]["hand NumPy"]
        if "skipped" in a:
            lines.append([f"{name}: {one['title']}", "–", "–", a["skipped"]])
        else:
            lines.append([f"{name}: {one['title']}", time_of(a["ours"]), time_of(a["us"]), spread(a)])
    return f"""## Works that no table lists

Against NumPy written by hand.

{rows(["work", "graphgrad", "by hand", "ratio"], lines)}"""


def of_variants(found: dict[str, Any]) -> str:
    blocks = []
    for name, of_rows in found.items():
        names = list(dict.fromkeys(n for one in of_rows.values() for n in one["us"]))
        lines = []
        for n in names:
            cells = []
            for one in of_rows.values():
                ratio = f" ({one['ratios'][n]:.2f})" if n in one["ratios"] else ""
                cells.append(time_of(one["us"][n]) + ratio if n in one["us"] else "–")
            lines.append([n, *cells])
        blocks.append(rows([name, *of_rows], lines))
    return """## Other dtypes, threads and optimizers

One process for each column, all contestants in turn in it; in parentheses graphgrad's time of theirs.

""" + "\n\n".join(blocks)


def of_first(found: dict[str, Any]) -> str:
    return f"""## The first step

From Python objects (widths, names, numbers) to the end of the first step, everything imported: {found["row 3"]:.0f} ms
for 64-128-64-10, {found["row 6"]:.0f} ms for 50 layers of 64."""


def of_workspace(found: dict[str, Any]) -> str:
    lines = [[row, f"{a:,}", f"{b:,}", f"{a / b:.3f}", f"{c:,}"] for row, (a, b, c) in found["rows"].items()]
    text = rows(["bytes", "planned", "most that live at once", "ratio", "with gradients one by one"], lines)
    if found["random"]:
        ratios = [a / b for a, b in found["random"]]
        text += (
            f"\n\nOf {len(ratios)} random graphs: median {statistics.median(ratios):.3f}, the worst {max(ratios):.3f}."
        )
    return f"## The workspace\n\n{text}"


def of_memory(found: dict[str, Any]) -> str:
    names = list(dict.fromkeys(n for one in found.values() for n in one))
    lines = []
    for n in names:
        cells = []
        for one in found.values():
            a = one.get(n, {"skipped": ""})
            cells.append("–" if "skipped" in a else f"{a['total']:.0f} ({a['total'] - a['imports']:.0f})")
        lines.append([n, *cells])
    return f"""## Memory of training

The most memory of a process that trains, in MiB; in parentheses what came after the imports.

{rows(["MiB", *found], lines)}"""


def of_growth(found: dict[str, Any]) -> str:
    blocks = []
    for kind, of_names in found.items():
        stages = ["build", "derive", "simplify", "schedule", "compile", "MiB"]
        lines = []
        for name, of_sizes in of_names.items():
            for n, one in of_sizes.items():
                cells = [("" if s not in one else f"{one[s]:.0f}" if s == "MiB" else f"{one[s]:.2f}") for s in stages]
                lines.append([f"{name}, {int(n):,}", *cells, one.get("skipped", "").replace("|", "/")[:80]])
        blocks.append(rows([kind, *[f"{s}, s" if s != "MiB" else s for s in stages], "given up"], lines))
    return """## Larger graphs

A chain of elementwise nodes over a vector, and a net of three layers with a node for each product and each sum.
graphgrad builds, derives, simplifies, schedules and compiles. JAX traces ("build"), traces with its derivative
("derive"), lowers ("schedule") and compiles; PyTensor builds, derives and compiles. Who was given up at a size was not
asked for more.

""" + "\n\n".join(blocks)


def of_passes(found: dict[str, Any]) -> str:
    on = list(next(iter(found.values())))
    lines = [[what, *[spread(one[row]) for row in on]] for what, one in found.items()]
    unlisted = [f" {w.name.capitalize()}: {w.title}." for w in works.others() if w.name in on]
    return f"""## What each pass is worth

The time of a step without it, of the time with it.{"".join(unlisted)}

{rows(["without", *on], lines)}"""


def of_late(found: list[dict[str, Any]]) -> str:
    head = ["step", "memory", "KiB without", "KiB with", "", "computed twice", "time with, of that without"]
    lines = []
    for one in found:
        new, old = one["bytes"]
        cells = [f"{old / 1024:,.0f}", f"{new / 1024:,.0f}", f"{new / old:.0%}", str(one["again"]), spread(one)]
        lines.append([one["work"], one["memory"], *cells])
    return f"""## Values computed late

The workspace of a step in which values that wait for the backward pass are computed late, and of one in which they are
computed at once. With memory="low" cheap ones are computed twice.

{rows(head, lines)}"""


def of_verdicts(data: dict[str, Any], places: dict[str, list[str]]) -> str:
    parts = ["## Verdicts"]
    for names in places.values():
        found = verdicts({"sections": {name: data["sections"][name] for name in names}})
        if not found:
            continue
        where = f"On {told}, " if (told := called(names[0], data, places)) else ""
        lines = "\n".join(v.text for v in found)
        parts.append(f"{where}{sum(v.ok for v in found)} of {len(found)} hold.\n\n```text\n{lines}\n```")
    return "\n\n".join(parts)


PARTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "table": of_table,
    "others": of_others,
    "variants": of_variants,
    "first": of_first,
    "workspace": of_workspace,
    "memory": of_memory,
    "growth": of_growth,
    "passes": of_passes,
    "late": of_late,
    "tables": tables.part,
}

SECTIONS: dict[str, Callable[[steps.Say], dict[str, Any]]] = {
    "import": costs.imports,
    "chain": growth.chain,
    "large": growth.large,
    "first": costs.first_steps,
    "workspace": costs.workspaces,
    "table": steps.table,
    "others": steps.others,
    "variants": steps.variants,
    "memory": costs.memory,
    "growth": growth.growth,
    "passes": passes.passes,
    "late": passes.late,
    "tables": tables.tables,
    "processes": processes.processes,
}
