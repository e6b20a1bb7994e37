"""Facts: what people (or the teachers that stand in for them) judged. No torch, no images."""
