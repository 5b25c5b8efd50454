"""What every room stands on: atomic files, hashes, manifests, tokenizers. Imports no other room."""
