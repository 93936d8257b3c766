"""Public data sets by name: where they lie, what proves them whole, and their way into the standard layout."""
