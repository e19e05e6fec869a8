"""An answer as JSON, and as a Markdown page: tables, verdicts, versions, the machine."""

import os
import platform
from pathlib import Path
from typing import Any

_COLUMNS = {
    "cpu_us": ("CPU, µs per {unit}", "{:,.2f}"),
    "wall_us": ("wall, µs per {unit}", "{:,.2f}"),
    "mb_per_cpu_s": ("MB per CPU second", "{:,.0f}"),
    "stall_ms": ("longest stall, ms", "{:,.1f}"),
    "held_ms": ("own work in it, ms", "{:,.1f}"),
    "memory_mb": ("more memory, MB", "{:,.1f}"),
    "idle_p99_ms": ("visitors' p99 before, ms", "{:,.1f}"),
    "p50_ms": ("median meanwhile, ms", "{:,.1f}"),
    "p99_ms": ("p99 meanwhile, ms", "{:,.1f}"),
    "p99_times_idle": ("p99, times that before", "{:,.1f}"),
    "server_share": ("server busy", "{:.0%}"),
}


def machine() -> dict[str, Any]:
    """Say where it was measured, and how busy the place was."""
    model = ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": round(load, 2),
    }


def markdown(answer: dict[str, Any]) -> str:
    """Give the page of one benchmark."""
    parts = [f"## {answer['name']}", answer["question"], _place(answer)]
    for case in answer["cases"]:
        parts += [f"### {case['name']}", _table(case, answer["unit"], answer["ours"])]
        parts += [f"- {name}: {why}" for name, why in case["failed"].items()]
    if answer["verdicts"]:
        parts += ["### Targets", _verdicts(answer["verdicts"])]
    if answer["absent"]:
        parts += ["### Not asked", "\n".join(f"- {name}: {why}" for name, why in answer["absent"])]
    return "\n\n".join(parts) + "\n"


def _place(answer: dict[str, Any]) -> str:
    where = answer["machine"]
    versions = {name: word for words in answer["versions"].values() for name, word in words.items()}
    return (
        f"Medians of {answer['rounds']} interleaved rounds; {where['processor'] or where['machine']}, {where['cores']} cores, "
        f"load {where['load']:g} when it began; Python {where['python']}, "
        + ", ".join(f"{name} {word}" for name, word in sorted(versions.items()))
        + "."
    )


def _table(case: dict[str, Any], unit: str, ours: str) -> str:
    figures = case["figures"]
    columns = [key for key in _COLUMNS if any(key in found for found in figures.values())]
    head = ["", *(_COLUMNS[key][0].format(unit=unit) for key in columns), f"CPU, {ours} = 1"]
    rows = [head, ["---", *("---:" for _ in head[1:])]]
    for name, found in figures.items():
        beside = case["ratios"].get(name)
        cells = [_COLUMNS[key][1].format(found[key]) if key in found else "" for key in columns]
        rows.append([name, *cells, f"{beside:.2f}" if beside is not None else ""])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _verdicts(verdicts: list[dict[str, Any]]) -> str:
    rows = [["case", "what", "target", "found", ""], ["---", "---", "---:", "---:", "---"]]
    rows += [[item["case"], item["what"], item["target"], f"{item['found']:,}", verdict(item)] for item in verdicts]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def verdict(item: dict[str, Any]) -> str:
    """Say in words how a figure compares with its target."""
    if item["is_met"]:
        return "met"
    limit = float(item["target"].split()[1])
    return f"**missed**: {item['found'] / limit:.2f} of the target"
