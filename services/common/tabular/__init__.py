"""Tables in files of any size: Parquet, CSV, TSV and NDJSON, read in blocks and checked by one set of rules."""
