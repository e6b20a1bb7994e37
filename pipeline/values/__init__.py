"""Value-based methods and actor-critics for numbered states (docs/values.md); only `stages/compare` uses them."""
