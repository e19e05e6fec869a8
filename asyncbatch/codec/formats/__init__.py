"""One module for each body format: what a request of that format must hold, and how it becomes a line."""
