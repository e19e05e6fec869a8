"""How many batches are watched: handles, an account's agenda, its lane of workers, walks through its list, and what is told."""
