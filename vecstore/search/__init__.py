"""Find the best rows of a snapshot for a query, on the codes as they lie."""
