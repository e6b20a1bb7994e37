"""Judgments in PostgreSQL: append-only tables that any number of servers share (docs/postgresql.md)."""
