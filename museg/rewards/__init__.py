"""One reward per file; `mix` composes them. Importing this package needs neither torch nor scipy."""
