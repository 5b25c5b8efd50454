"""What tests share: real servers started for them, and a proxy that makes bad days."""
