"""Jobs whose requests fail as often as they say, and how they ended."""


class Flaky:
    """Answers a prompt that says `fails N` only when it is asked for the N+1st time."""

    def __init__(self):
        self.asked = []

    def __call__(self, ask):
        self.asked.append(ask.prompt)
        name, _, times = ask.prompt.partition(" fails ")
        if times and self.asked.count(ask.prompt) <= int(times):
            raise RuntimeError("overloaded")
        return f"echo: {name}"


def rows(*prompts):
    return [
        {"custom_id": f"r{n}", "body": {"messages": [{"role": "user", "content": prompt}]}}
        for n, prompt in enumerate(prompts)
    ]


async def outcomes(job, **how):
    return [(row.request_id, row.status, row.text) async for row in job.results(**how)]


def creates(emulator):
    return [record for record in emulator.history if record.kind == "create"]
