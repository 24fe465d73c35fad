"""Fields: what rows have beside their vectors that is searched, such as token vectors."""
