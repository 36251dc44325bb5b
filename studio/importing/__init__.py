"""A file a person has becomes canonical Parquet with a report. Everything here runs in a child process under limits."""
