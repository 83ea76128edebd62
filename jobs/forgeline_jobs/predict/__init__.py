"""The kind `predict`: a file or a folder in, Parquet out."""
