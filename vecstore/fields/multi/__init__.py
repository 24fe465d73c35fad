"""Token vectors: several vectors a row, compared by the sum of their largest products (late interaction)."""
