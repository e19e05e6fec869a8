"""The steps of a job: submit, poll, settle. It decides nothing and does everything; decisions are in `planning/`."""
