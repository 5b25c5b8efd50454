"""Shared by tests: real and fake servers, a proxy that fails, small bundles and profiles."""
