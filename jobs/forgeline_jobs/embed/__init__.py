"""Embeddings of a file in Parquet, and the search for the nearest among them: `forgeline embed`."""

from __future__ import annotations

from forgeline_jobs.embed.index import EmbeddingIndex as EmbeddingIndex

__all__ = ["EmbeddingIndex"]
