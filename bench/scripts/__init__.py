"""Programs that write the tables of the documentation, and that try stores under damage and kills."""
