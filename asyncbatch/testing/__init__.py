"""For tests of what is built on this library: a pytest plugin, which pytest finds by itself."""
