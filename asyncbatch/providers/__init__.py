"""One module and one YAML for each provider; they never import each other, and no list names them."""
