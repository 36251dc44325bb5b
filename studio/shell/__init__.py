"""What stands before every page: hosts, origins, headers, uploads, downloads, health."""
