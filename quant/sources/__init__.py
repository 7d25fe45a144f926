"""From what the user typed to files on disk: names, registry, preparation."""
