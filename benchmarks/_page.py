"""The page of figures in the documentation: `python -m benchmarks._page` makes its tables and its chart of benchmarks/results.

The results come from `python3 dev.py bench --peers --out benchmarks/results`. What stands between the marks in
docs/performance.md is written here, and a test holds the page to the results.
"""

import json
from pathlib import Path
from typing import Any

from benchmarks._report import _verdicts

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks/results"
PAGE, CHART = ROOT / "docs/performance.md", ROOT / "docs/performance.svg"
BEGIN, END = "<!--- begin of results --->", "<!--- end of results --->"
ORDER = ("prepare", "upload", "fetch", "end_to_end", "polls", "sweeps", "web_latency", "growth")
CHARTED = (
    ("prepare", "1 KB", "prepare a request of 1 KB"),
    ("fetch", "1.5 KB", "fetch an answer of 1.5 KB"),
    ("end_to_end", "50,000 requests", "a request from a generator to its answer"),
    ("polls", "1,000 batches", "ask about one batch"),
    ("sweeps", "10,000 batches", "know of one batch, by the list"),
)
_COLUMNS = (("cpu_us", "CPU, µs", "{:,.1f}"), ("stall_ms", "longest stall, ms", "{:,.1f}"))
_MORE = (("held_ms", "own work in it, ms", "{:,.1f}"), ("memory_mb", "more memory, MB", "{:,.0f}"))
_WEB = (
    ("idle_p99_ms", "p99 before, ms", "{:,.1f}"),
    ("p50_ms", "median, ms", "{:,.1f}"),
    ("p99_ms", "p99, ms", "{:,.1f}"),
    ("p99_times_idle", "times that before", "{:,.1f}"),
)


def results() -> dict[str, Any]:
    """Read what was measured, by name."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))}
    return {name: found[name] for name in ORDER if name in found}


def tables(found: dict[str, Any]) -> str:
    """Give the chapters of the page."""
    return "\n\n".join(_chapter(name, answer) for name, answer in found.items())


def _chapter(name: str, answer: dict[str, Any]) -> str:
    parts = [f"### {name}", answer["question"]]
    for case in answer["cases"]:
        columns = [
            column
            for column in (*_COLUMNS, *_MORE, *_WEB)
            if any(column[0] in item for item in case["figures"].values())
        ]
        rows = [[f"{case['name']}, per {answer['unit']}", *(title for _, title, _ in columns)]]
        rows.append(["---", *("---:" for _ in columns)])
        for who, item in case["figures"].items():
            cells = [form.format(item[key]) if key in item else "" for key, _, form in columns]
            rows.append([f"**{who}**" if who.startswith(answer["ours"]) else who, *cells])
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
        parts += [f"{who}: {why}." for who, why in case["failed"].items()]
    if answer["verdicts"]:
        parts.append(_verdicts(answer["verdicts"]))
    where = answer["machine"]
    versions = {key: word for words in answer["versions"].values() for key, word in words.items()}
    listed = ", ".join(f"{key} {word}" for key, word in sorted(versions.items()))
    parts.append(
        f"{_scaled(answer['scale'])}Medians of {answer['rounds']} interleaved rounds, {where['processor']}, "
        f"{where['cores']} cores shared with others "
        f"(load {where['load']:g} when it began), Python {where['python']}, {listed}."
    )
    return "\n\n".join(parts)


def _scaled(scale: float) -> str:
    return "" if scale == 1 else f"**Cases at {scale:g} of their size**, for want of a quiet machine. "


# --- the chart -----------------------------------------------------------------------------------------------------

_LEFT, _WIDTH, _BAR, _GAP, _HEAD = 190, 420, 15, 4, 30


def chart(found: dict[str, Any]) -> str:
    """Draw the processor time of each way, in groups with a scale of their own."""
    parts: list[str] = []
    y = 10
    for name, case_name, title in CHARTED:
        case = next((case for case in found.get(name, {}).get("cases", ()) if case["name"] == case_name), None)
        if case is None:
            continue
        group, y = _group(title, case["figures"], y)
        parts += group
    width = _LEFT + _WIDTH + 90
    style = "text{font:12px sans-serif;fill:#7a8288}.h{font-weight:600}.o{fill:#009688}.n{fill:#90a4ae}.p{fill:#b0bec5}"
    body = "\n".join(parts)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" width="{width}" height="{y}" role="img">'
    return f"{head}\n<title>Processor time, µs</title>\n<style>{style}</style>\n{body}\n</svg>\n"


def _group(title: str, figures: dict[str, Any], y: int) -> tuple[list[str], int]:
    most = max(item["cpu_us"] for item in figures.values())
    parts = [f'<text class="h" x="10" y="{y + 14}">{title}: processor time, µs</text>']
    y += _HEAD - 6
    for who, item in sorted(figures.items(), key=lambda pair: pair[1]["cpu_us"]):
        long = max(1.0, item["cpu_us"] / most * _WIDTH)
        kind = "o" if who.startswith("asyncbatch") else "n" if "msgspec" in who else "p"
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 12}" text-anchor="end">{who}</text>')
        parts.append(f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{long:.1f}" height="{_BAR}"/>')
        parts.append(f'<text x="{_LEFT + long + 6:.1f}" y="{y + 12}">{item["cpu_us"]:,.1f}</text>')
        y += _BAR + _GAP
    return parts, y + 12


def written(page: str, found: dict[str, Any]) -> str:
    """Give the page with these results in it."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{tables(found)}\n\n{END}{after}"


def main() -> None:
    found = results()
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
    CHART.write_text(chart(found), encoding="utf-8")


if __name__ == "__main__":
    main()
