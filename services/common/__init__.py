"""What every room of the services stands on: files, hashes, manifests, tables. Imports no other room."""
