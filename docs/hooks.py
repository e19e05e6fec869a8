"""What the docs build works out for itself, so that no list has to name providers, decisions or public names.

A page asks for it with a comment: `<!-- public names -->` in the reference; on the page of a provider `<!-- settings -->`,
`<!-- cannot -->`, `<!-- limits -->`, `<!-- endpoints -->`, `<!-- statuses -->` and `<!-- models -->`;
`<!-- providers -->` for all of them.
"""

import re
from collections import defaultdict
from pathlib import Path

import asyncbatch
from asyncbatch.catalog import cannot_of, load_catalog
from asyncbatch.enums import SubmitSafety

DOCS = Path(__file__).parent
FIRST = ["index.md", "getting-started.md", "concepts.md"]
LAST = ["reference.md"]
SAFETY = {
    SubmitSafety.IDEMPOTENT: "it takes our key, so a lost create is sent again",
    SubmitSafety.NAMED: "we choose the batch's name, so a lost create is asked for",
    SubmitSafety.TAGGED_FENCED: "our tag can be listed, and a late create can be made to fail",
    SubmitSafety.TAGGED: "our tag can be listed",
    SubmitSafety.INFERRED: "no tag; candidates are found by time and count",
    SubmitSafety.NONE: "only a human can tell whether a lost create was accepted",
}


def on_config(config):
    """Build the navigation: the tour, then what other pages there are, then each folder, then the reference."""
    pages = sorted(page.name for page in DOCS.glob("*.md"))
    rest = [page for page in pages if page not in (*FIRST, *LAST)]
    sections = [{folder.name.capitalize(): _pages(folder)} for folder in sorted(DOCS.iterdir()) if _pages(folder)]
    config.nav = [*FIRST, *rest, *reversed(sections), *LAST]
    return config


def _pages(folder):
    found = sorted(folder.glob("*.md"), key=lambda page: (page.name != "index.md", page.name))
    return [page.relative_to(DOCS).as_posix() for page in found]


def on_page_markdown(markdown, page, **_):
    """Put what is asked for in place of the comment that asks."""
    return re.sub(r"<!-- ([a-z ]+) -->", lambda ask: ANSWERS[ask[1]](page), markdown)


def public_names(_page):
    names = defaultdict(list)
    for name in asyncbatch.__all__:
        value = getattr(asyncbatch, name)
        names[getattr(value, "__module__", None) or type(value).__module__].append(name)
    chapters = (
        [f"## {module}", *(f"::: {module}.{name}" for name in sorted(names[module]))] for module in sorted(names)
    )
    return "\n\n".join(line for chapter in chapters for line in chapter)


def settings(page):
    facts = _facts(page)
    address = [facts.base_url, *([facts.base_url_env] if facts.base_url_env else [])]
    rows = [
        ("facts checked on", facts.checked),
        ("address", " or ".join(f"`{text}`" for text in address)),
        ("key", " or ".join(f"`{name}`" for name in facts.credentials.env)),
        *((name, f"`{option.env}`{_default(option)}") for name, option in facts.options.items()),
        ("requests travel", ", ".join(_ways(facts))),
        ("submit safety", f"`{facts.submit_safety.name}`: {SAFETY[facts.submit_safety]}"),
        *([("inline", f"`{inline.name}`: {SAFETY[inline]}")] if (inline := facts.inline_submit_safety) else []),
        ("time for a batch", f"{facts.window_s // 3600} hours{_others(facts)}"),
        ("answers after", ", ".join(f"`{status.name}`" for status in facts.answers_after)),
        ("answers kept", _days(facts.retention.output_s)),
        ("off the list price", _percent(facts)),
        ("how sure", facts.sureness or ""),
    ]
    return _table(["setting", "value"], rows)


def cannot(page):
    return "\n".join(f"- {what}" for what in cannot_of(_facts(page)))


def _others(facts):
    return "" if facts.windows is None or facts.windows.is_one else f", or what is asked for: {facts.windows.bounds}"


def providers(_page):
    catalog = load_catalog()
    rows = [_provider(catalog.provider(name)) for name in catalog.names()]
    head = ["provider", "modes", "travels", "rows", "bytes", "hours", "off", "lost create"]
    head += ["answers after", "kept", "cannot", "how sure", "facts of"]
    return _table(head, rows)


def _provider(facts):
    limits, modes = facts.limits, dict.fromkeys([*(item.mode.name for item in facts.endpoints), "CUSTOM"])
    rows, size = limits.requests or limits.inline_requests, limits.file_bytes or limits.inline_bytes
    return (
        f"[{facts.title}]({facts.name}.md)",
        ", ".join(f"`{mode}`" for mode in modes),
        ", ".join(_ways(facts)),
        f"{rows.value:,}" if rows else "no limit known",
        f"{size.value:,}" if size else "no limit known",
        str(facts.window_s // 3600),
        _percent(facts),
        f"`{facts.submit_safety.name}`",
        ", ".join(f"`{status.name}`" for status in facts.answers_after),
        _days(facts.retention.output_s),
        "; ".join(cannot_of(facts)),
        facts.sureness or "",
        facts.checked,
    )


def _ways(facts):
    small = facts.inline_up_to
    few = f" up to {small.requests:,} requests and {small.bytes:,} bytes by itself" if small else ""
    return [f"{way.value}{few if way.value == 'inline' else ''}" for way in facts.inputs]


def _default(option):
    return f", `{option.default}` by default" if option.default else ""


def _days(seconds):
    return f"{seconds / 86_400:g} days" if seconds else "not stated"


def _percent(facts):
    return f"{facts.discount:.0%}" if facts.discount else "not stated"


def limits(page):
    facts = _facts(page)
    found = [(name, getattr(facts.limits, name)) for name in facts.limits.__struct_fields__]
    rows = [(name.replace("_", " "), f"{limit.value:,}", _link(limit.source)) for name, limit in found if limit]
    return _table(["limit", "value", "source"], rows)


def endpoints(page):
    rows = [(f"`{item.path}`", f"`{item.mode.name}`", f"`{item.format}`") for item in _facts(page).endpoints]
    return _table(["endpoint", "mode", "format of the answers"], rows)


def statuses(page):
    rows = [(f"`{word}`", f"`{status.name}`") for word, status in _facts(page).status.items()]
    return _table(["its word", "status"], rows)


def models(page):
    rows = [_model(item) for item in sorted(_facts(page).models, key=lambda item: item.match)]
    return _table(["model", "modes", "input", "output", "price read"], rows)


def _model(item):
    modes = ", ".join(f"`{mode.name}`" for mode in item.modes)
    if item.price is None:
        return f"`{item.match}`", modes, "", "", ""
    output = "" if item.price.output_usd is None else f"{item.price.output_usd:g}"
    return f"`{item.match}`", modes, f"{item.price.input_usd:g}", output, item.price.date or ""


def _facts(page):
    return load_catalog().provider(Path(page.file.src_uri).stem)


def _link(source):
    return f"[source]({source})" if source else ""


def _table(head, rows):
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


ANSWERS = {
    "public names": public_names,
    "providers": providers,
    "settings": settings,
    "cannot": cannot,
    "limits": limits,
    "endpoints": endpoints,
    "statuses": statuses,
    "models": models,
}
