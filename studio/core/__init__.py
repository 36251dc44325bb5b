"""The torch-free core: rules, records, files, queue and use cases."""
