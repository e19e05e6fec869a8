"""The page about limits: its web application answers a budget that is used up with 429."""

from starlette.testclient import TestClient

from asyncbatch import BudgetExceededError
from tests.docs.pages import run_page


def test_a_budget_that_is_used_up_is_a_429_that_says_when_to_come_back(world, request):
    app = run_page("docs/limits.md", request.getfixturevalue)["app"]

    def refuse(retry_after_s):
        raise BudgetExceededError(
            "no", budget="requests_per_day", account="acme", limit=5, used=4, asked=2, retry_after_s=retry_after_s
        )

    app.get("/refused")(lambda: refuse(59.2))
    app.get("/never")(lambda: refuse(None))
    with TestClient(app) as http:
        refused, never = http.get("/refused"), http.get("/never")

    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")
    assert refused.json() == {"budget": "requests_per_day", "left": 1}
    assert (never.status_code, "Retry-After" in never.headers) == (429, False)
