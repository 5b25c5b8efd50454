"""Everything online: the profile service, its client, and the stack it runs in."""
