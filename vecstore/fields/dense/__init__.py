"""One vector a row beside the store's own: another model's, or one that stands for a row's token vectors."""
