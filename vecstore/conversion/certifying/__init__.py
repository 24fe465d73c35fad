"""Certificates of stores that exist: measured again, against their dump or what they hold."""
