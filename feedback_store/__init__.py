"""Judgments of people and of simulated teachers: records, stores, quality and exchange formats. No torch, no images."""
