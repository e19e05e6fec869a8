"""Run benchmarks: `python -m benchmarks [NAME ...] [--peers] [--rounds N] [--scale X] [--json] [--out DIRECTORY]`.

Without `--json` a Markdown page of each goes to stdout, with it one JSON document each. `--scale` makes every case smaller,
for a look; figures of a small case say little.
"""

import argparse
import importlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks._capacity import capacity
from benchmarks._frame import Bench, figures_of, grown, is_there, judged, ratio, run_case, versions_of, wanted
from benchmarks._report import machine, markdown, verdict

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))
OURS = "asyncbatch"


def answer_of(name: str, options: argparse.Namespace, directory: str) -> dict[str, Any]:
    """Answer one question."""
    module = f"benchmarks.{name}"
    bench: Bench = importlib.import_module(module).BENCH
    place = machine()
    cases, verdicts, versions = [], [], {}
    absent = list(bench.absent if options.peers else ())
    for whole in bench.cases:
        case = whole.scaled(options.scale)
        contenders = wanted(bench, case, peers=options.peers)
        absent += [(item.name, "it could not be installed") for item in contenders if not is_there(item)]
        contenders = [item for item in contenders if is_there(item)]
        print(f"{name}, {case.name}: {', '.join(item.name for item in contenders)}", file=sys.stderr, flush=True)
        done = run_case(module, bench, case, contenders, options.rounds, directory)
        runs = {key: found for key, found in done["runs"].items() if found}
        figures = {key: figures_of(found, case) for key, found in runs.items()}
        ratios = {key: ratio(runs, key, OURS, "cpu_us") for key in runs if OURS in runs}
        verdicts += judged(bench, case, runs, figures)
        versions |= {item.name: versions_of(item) for item in contenders}
        cases.append({"name": case.name, "figures": figures, "ratios": ratios, "failed": done["failed"]})
    verdicts += grown(bench, {case["name"]: case["figures"][OURS] for case in cases if OURS in case["figures"]})
    return {
        "name": name, "question": " ".join(bench.question.split("\n\n")[0].split()), "unit": bench.unit, "ours": OURS,
        "rounds": options.rounds, "scale": options.scale, "machine": place, "versions": versions, "cases": cases,
        "verdicts": verdicts, "absent": sorted(set(absent)),
    }  # fmt: skip


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="dev.py bench", description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}; all by default")
    parser.add_argument("--peers", action="store_true", help="measure other libraries too")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--json", action="store_true", help="JSON on stdout instead of Markdown")
    parser.add_argument("--out", type=Path, help="also write NAME.json and NAME.md into this directory")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(NAMES)}")
    print(f"the server alone: {capacity()}", file=sys.stderr, flush=True)
    missed = 0
    for name in options.names or NAMES:
        with tempfile.TemporaryDirectory() as directory:
            answer = answer_of(name, options, directory)
        page = markdown(answer)
        print(json.dumps(answer, indent=1) if options.json else page, flush=True)
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            (options.out / f"{name}.json").write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")
            (options.out / f"{name}.md").write_text(page, encoding="utf-8")
        for item in answer["verdicts"]:
            missed += not item["is_met"]
            print(
                f"{item['case']}: {item['what']} {item['found']} ({item['target']}): {verdict(item)}", file=sys.stderr
            )
    print(f"{missed} targets missed" if missed else "every target met", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
